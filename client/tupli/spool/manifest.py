"""What a stream's directory says about itself: for whom, for which server, and what its starts have in common."""

import contextlib
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from tupli.spool.owner import Owner
from tupli_schemas.errors import ContractError
from tupli_schemas.events import BenchmarkRef
from tupli_schemas.ids import id_text, parse_id

VERSION: Final = 1


class ManifestError(ContractError):
    """A stream's directory that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkState:
    """The stream's benchmark: `id` is proposed by the client until `resolved`; `refused` is the server's answer."""

    id: str
    name: str = ""
    descriptor: dict[str, Any] | None = None
    command_id: str = ""
    resolved: bool = False
    refused: str = ""

    @property
    def ref(self) -> BenchmarkRef:
        """The reference that starts carry."""
        return BenchmarkRef(parse_id(self.id), self.name, self.descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of one stream. `problem` is why it could not be delivered when that was last tried."""

    stream: str
    address: str
    identity: str
    owner: Owner
    benchmark: BenchmarkState
    slots: int = 1
    run: str = ""
    policy: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    publish_in: tuple[str, ...] = ()
    ended: bool = False
    problem: str = ""

    @property
    def stream_id(self) -> bytes:
        """The stream's 16 bytes."""
        return parse_id(self.stream)

    def with_benchmark(self, benchmark: BenchmarkState) -> "Manifest":
        """The manifest with another state of the benchmark."""
        return replace(self, benchmark=benchmark)

    def write(self, directory: Path) -> None:
        """Write it, whole or not at all."""
        write_json(directory / "manifest.json", asdict(self) | {"format": VERSION})

    @staticmethod
    def read(directory: Path) -> "Manifest":
        """The manifest of a stream's directory.

        Raises:
            ManifestError: It is missing, damaged or of another version.
        """
        try:
            data = orjson.loads((directory / "manifest.json").read_bytes())
            if data.pop("format") != VERSION:
                raise ManifestError("written by another version of Tupli", place=str(directory))
            benchmark = BenchmarkState(**data.pop("benchmark"))
            owner, publish_in = Owner(**data.pop("owner")), tuple(data.pop("publish_in"))
            return Manifest(benchmark=benchmark, owner=owner, publish_in=publish_in, **data)
        except (OSError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, ManifestError):
                raise
            raise ManifestError(f"no manifest ({type(error).__name__})", place=str(directory)) from error


@dataclass(frozen=True, slots=True)
class SlotState:
    """One slot of a stream at a segment's beginning: its open episode (0 for none), steps and return so far."""

    episode: int = 0
    steps: int = 0
    return_: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where the numbers stand at the beginning of a segment, so that those before it may be unlinked."""

    segment: int
    next_number: int
    slots: tuple[SlotState, ...]

    def write(self, directory: Path) -> None:
        """Write it, whole or not at all."""
        slots = [[slot.episode, slot.steps, slot.return_.hex()] for slot in self.slots]
        data = {"segment": self.segment, "next_number": self.next_number, "slots": slots}
        write_json(directory / "state.json", data)

    @staticmethod
    def read(directory: Path, slots: int) -> "StreamState":
        """The state of a directory; the beginning of the stream when none was written.

        Raises:
            ManifestError: It is damaged.
        """
        path = directory / "state.json"
        if not path.exists():
            return StreamState(1, 1, (SlotState(),) * slots)
        try:
            data = orjson.loads(path.read_bytes())
            read = tuple(SlotState(e, n, float.fromhex(total)) for e, n, total in data["slots"])
            return StreamState(data["segment"], data["next_number"], read)
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestError(f"damaged ({type(error).__name__})", place=str(path)) from error


def new_benchmark(benchmark_id: bytes, name: str, descriptor: dict[str, Any] | None) -> BenchmarkState:
    """A benchmark to be created from its name and descriptor, with an idempotency key of its own."""
    text = id_text(benchmark_id)
    return BenchmarkState(id=text, name=name, descriptor=descriptor, command_id=f"create-{text}")


def write_json(path: Path, data: Any) -> None:
    """Write JSON into a file of 0600 by way of a synced temporary one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(data, default=str))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
