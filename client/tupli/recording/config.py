"""What a recording is told once: where it goes, and what all its episodes have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tupli.errors import InvalidInput
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import BenchmarkState
from tupli.transport.base import Transport

OnFull = Literal["abort", "block"]
ON_FULL: Final = ("abort", "block")

MetadataCallback = Callable[[Any], Any]


@dataclass(kw_only=True)
class RecordingConfig:
    """The settings of one recording.

    Attributes:
        owns_transport: Whether its connections are closed with the recording.
        benchmark: None while it is not known; recording begins with the first reset after it is.
        metadata: Of every episode.
        info_keys: The only members of infos that are kept; None for all.
        observation_space: JSON of the declared space, or None. action_space: likewise.
        metadata_callback: Gets each tuple (made by `rl_tuple`); its last answer is metadata of the episode.
    """

    transport: Transport
    directory: SpoolDirectory
    owns_transport: bool = False
    benchmark: BenchmarkState | None = None
    policy: str | None = None
    run: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    publish_in: tuple[str, ...] = ()
    info_keys: tuple[str, ...] | None = None
    on_full: OnFull = "abort"
    drain_timeout: float = 30.0
    environment: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    observation_space: Any = None
    action_space: Any = None
    metadata_callback: MetadataCallback | None = None
    rl_tuple: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.on_full not in ON_FULL:
            raise InvalidInput(f"{self.on_full!r} is none of {ON_FULL}", place="on_full")
        if self.drain_timeout < 0:
            raise InvalidInput("must not be negative", place="drain_timeout")

    def __deepcopy__(self, _: Any) -> "RecordingConfig":
        """A copied environment shares the settings, the transport among them."""
        return self
