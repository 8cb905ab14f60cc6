"""What users hold in their hands: tuples, episodes, and the headers of what a server keeps.

Members that a newer server sends and this client does not know are ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tupli import columns
from tupli.errors import InvalidInput
from tupli_schemas.errors import ContractError
from tupli_schemas.values import from_tagged


@dataclass
class RLTuple:
    """One transition. `state` is the observation the action was chosen on."""

    state: Any
    action: Any
    reward: float
    info: Any = field(default_factory=dict)
    terminal: bool = False
    timeout: bool = False


@dataclass
class Episode:
    """An episode to record: its transitions, and the observation it ended on where that is known."""

    benchmark_id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    tuples: Sequence[RLTuple] = field(default_factory=list)
    final_observation: Any = None

    @staticmethod
    def from_arrays(
        *,
        benchmark_id: str,
        observations: Any,
        actions: Any,
        rewards: Any,
        terminated: Any,
        truncated: Any,
        infos: Iterable[Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> "Episode":
        """The episode of its arrays: T actions, rewards and flags, T+1 observations (or T, without the final one).

        `terminated` and `truncated` are arrays of T flags, or one flag for the last step. Observations and actions
        are arrays of shape `(T+1, ...)` and `(T, ...)`, or dicts and tuples of such. Arrays of other libraries are taken
        by position, whatever their labels say.

        Raises:
            InvalidInput: The lengths do not fit together, flags are none, or something is no column of values.
        """
        rewards = columns.rows(rewards, "rewards")
        observations = columns.column(observations, "observations")
        actions = columns.column(actions, "actions")
        steps = len(rewards)
        counts = {
            "observations": columns.length(observations, "observations"),
            "actions": columns.length(actions, "actions"),
        }
        if counts["actions"] != steps or counts["observations"] not in {steps, steps + 1}:
            raise InvalidInput(
                f"{steps} rewards need {steps} actions and {steps + 1} observations, not {counts}",
                place="observations",
            )
        infos = [{} for _ in range(steps)] if infos is None else columns.rows(infos, "infos")
        if len(infos) != steps:
            raise InvalidInput(f"{len(infos)} infos for {steps} steps", place="infos")
        ends = [_flags(flags, steps, name) for name, flags in _named(terminated, truncated)]
        tuples = [
            RLTuple(
                columns.row(observations, i), columns.row(actions, i), rewards[i], infos[i],
                bool(ends[0][i]), bool(ends[1][i]),
            )
            for i in range(steps)
        ]  # fmt: skip
        final = columns.row(observations, steps) if counts["observations"] > steps else None
        return Episode(benchmark_id, dict(metadata or {}), tuples, final)


class _FromJson:
    """Reads the members it knows."""

    @classmethod
    def known(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """The members that are fields."""
        renamed = {"return": "return_"}
        names = {f.name for f in fields(cls)}  # type: ignore[arg-type]  # only dataclasses derive from it
        return {renamed.get(k, k): v for k, v in data.items() if renamed.get(k, k) in names}


@dataclass(frozen=True)
class BenchmarkHeader(_FromJson):
    """A benchmark as the server knows it."""

    id: str
    name: str = ""
    owner: str = ""
    description: str = ""
    difficulty: str = ""
    version: str = ""
    hash: str = ""
    created_by: str = ""
    created_at: str = ""
    published_in: tuple[str, ...] = ()
    extra: Any = field(default_factory=dict)
    descriptor: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "BenchmarkHeader":
        """The header of the server's JSON."""
        known = BenchmarkHeader.known(data)
        known["published_in"] = tuple(known.get("published_in") or ())
        known["extra"] = _untagged(known.get("extra"))
        return BenchmarkHeader(**known)

    @property
    def metadata(self) -> dict[str, Any]:
        """The seed's members in the seed's place."""
        return {
            name: getattr(self, name) for name in ("name", "description", "difficulty", "version", "extra")
        }


@dataclass(frozen=True)
class EpisodeHeader(_FromJson):
    """An episode as the server knows it, without its steps. Times are ISO 8601."""

    id: str
    benchmark_id: str = ""
    created_by: str = ""
    created_at: str = ""
    started_at: str = ""
    ended_at: str | None = None
    status: str = ""
    n_tuples: int = 0
    return_: float | None = None
    seed: Any = None
    run: str = ""
    policy: str | None = None
    stream: str = ""
    slot: int = 0
    terminated: bool = False
    truncated: bool = False
    timeout: bool = False
    published_in: tuple[str, ...] = ()
    alignment: str = "pre_step"
    metadata: Any = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    options: Any = None
    reset_info: Any = None
    reason: str = ""
    digest: str = ""
    has_final: bool = True
    layout: str = ""
    conflict_reason: str = ""

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "EpisodeHeader":
        """The header of the server's JSON; tagged values become the user's again."""
        known = EpisodeHeader.known(data)
        known["published_in"] = tuple(known.get("published_in") or ())
        for name in ("metadata", "options", "reset_info", "seed"):
            known[name] = _untagged(known.get(name))
        return EpisodeHeader(**known)


def _untagged(value: Any) -> Any:
    try:
        return from_tagged(value)
    except ContractError:
        return value  # of a newer writer: shown as it is


def _named(terminated: Any, truncated: Any) -> tuple[tuple[str, Any], ...]:
    return ("terminated", terminated), ("truncated", truncated)


def _flags(flags: Any, steps: int, name: str) -> npt.NDArray[np.bool_]:
    given = np.asarray(flags)
    if np.ma.is_masked(flags) or given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
        raise InvalidInput("flags are True and False, or 1 and 0", place=name)
    out = given.astype(bool)
    if out.shape == ():
        return np.arange(steps) == steps - 1 if out else np.zeros(steps, bool)
    if out.shape != (steps,):
        raise InvalidInput(f"{list(out.shape)} flags for {steps} steps", place=name)
    return out
