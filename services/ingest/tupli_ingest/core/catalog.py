"""The catalogue: a pure fold of the topic of commands to verdicts and rows.

Replaying the topic gives the same verdicts and rows; the state is rebuilt so at every start (a catalogue is
small). What a command says of episodes is only written down, with who said it: whether that subject owns them
is judged when data is read, because steps and commands are two topics without an order between them.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from tupli_ingest.core.ports import Row, Table
from tupli_schemas.catalog import (
    MAX_COMMAND_ID,
    Command,
    CreateBenchmark,
    Delete,
    Publish,
    Unpublish,
    decode_command,
)
from tupli_schemas.errors import ContractError
from tupli_schemas.ids import id_text, ordinal_of
from tupli_schemas.index import index_tagged
from tupli_schemas.names import check_name
from tupli_schemas.records import Record
from tupli_schemas.times import time_text

SPACES: Final = ("observation_space", "action_space")

Status = Literal["done", "conflict", "not_found", "unknown_benchmark", "invalid"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a command: `result` when it is done, else `detail` and the `place` in the command."""

    command_id: str
    subject: bytes
    status: Status
    result: dict[str, Any] = field(default_factory=dict)
    detail: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Erasure:
    """Columns to erase: those of an episode, if `subject` owns it, or of all episodes of a benchmark."""

    kind: str
    id: bytes
    subject: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a record led to. Without a verdict it was no command, and `error` says why: a dead letter."""

    verdict: Verdict | None
    rows: tuple[tuple[Table, Row], ...] = ()
    erasures: tuple[Erasure, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as it was created. `created_at` is in Unix nanoseconds, by the gateway's clock."""

    id: bytes
    owner: bytes
    name: str
    descriptor: dict[str, Any]
    description: str
    difficulty: str
    version: str
    extra: Any
    created_at: int
    row_version: int

    @property
    def hash(self) -> str:
        """SHA-256 of the descriptor's JSON with sorted keys."""
        return hashlib.sha256(_json(self.descriptor)).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The benchmark's header, as callers get it."""
        names = ("name", "descriptor", "hash", "description", "difficulty", "version", "extra")
        ids = {"id": id_text(self.id), "owner": id_text(self.owner)}
        same = {name: getattr(self, name) for name in names}
        return ids | same | {"created_at": time_text(self.created_at)}

    def to_row(self) -> Row:
        """The row of `benchmarks`."""
        index = index_tagged(self.extra)
        return {
            "id": self.id,
            "owner": self.owner,
            "name": self.name,
            "descriptor": _json(self.descriptor).decode(),
            "hash": self.hash,
            "description": self.description,
            "difficulty": self.difficulty,
            "benchmark_version": self.version,
            "extra": _json(self.extra).decode(),
            "extra_num": index.num,
            "extra_int": index.int_,
            "extra_str": index.str_,
            "extra_other": index.other,
            "created_at": self.created_at,
            "version": self.row_version,
        }


@dataclass(frozen=True, slots=True)
class _Said:
    """Who said a command, when, and as which version of what it changes."""

    command_id: str
    subject: bytes
    at: int
    version: int

    def done(self, **result: Any) -> Verdict:
        return Verdict(self.command_id, self.subject, "done", result)

    def refused(self, status: Status, detail: str, place: str) -> Outcome:
        return Outcome(Verdict(self.command_id, self.subject, status, {}, detail, place))


class Catalog:
    """The state of the catalogue, and what each next record does to it."""

    def __init__(self) -> None:
        self._benchmarks: dict[bytes, Benchmark] = {}
        self._names: dict[tuple[bytes, str], bytes] = {}
        self._deleted: set[tuple[str, bytes, bytes]] = set()
        self._verdicts: dict[tuple[bytes, str], Verdict] = {}

    def verdict(self, subject: bytes, command_id: str) -> Verdict | None:
        """What became of a subject's command; None while it is not folded."""
        return self._verdicts.get((subject, command_id))

    def benchmark(self, benchmark: bytes) -> Benchmark | None:
        """A benchmark that exists."""
        found = self._benchmarks.get(benchmark)
        return found if found and self._names.get((found.owner, found.name)) == benchmark else None

    def benchmark_named(self, owner: bytes, name: str) -> Benchmark | None:
        """The owner's benchmark of this name."""
        found = self._names.get((owner, name))
        return None if found is None else self._benchmarks[found]

    def erasures(self) -> list[Erasure]:
        """Everything that was ever deleted: what a rebuild must not bring back."""
        return [Erasure(*one) for one in sorted(self._deleted)]

    def apply(self, record: Record) -> Outcome:
        """Fold the next record of the topic.

        A command that was seen before has its first verdict and no effect.
        """
        try:
            command = decode_command(record.payload)
            _check_command(command)
        except ContractError as error:
            return self._undecodable(record, error)
        subject = record.envelope.subject
        seen = self._verdicts.get((subject, command.command_id))
        if seen is not None:
            return Outcome(seen)
        said = _Said(command.command_id, subject, record.envelope.received_ns, record.position.offset + 1)
        outcome = self._decide(said, command)
        if outcome.verdict is not None:
            self._verdicts[subject, command.command_id] = outcome.verdict
        return outcome

    def _undecodable(self, record: Record, error: ContractError) -> Outcome:
        """A command whose id can be read gets a verdict; anything else is a dead letter."""
        command_id = _command_id_of(record.payload)
        if command_id is None:
            return Outcome(None, error=str(error))
        subject = record.envelope.subject
        verdict = Verdict(command_id, subject, "invalid", {}, error.reason, error.place)
        return Outcome(self._verdicts.setdefault((subject, command_id), verdict))

    def _decide(self, said: _Said, command: Command) -> Outcome:
        if isinstance(command, CreateBenchmark):
            return self._create(said, command)
        if isinstance(command, Delete):
            return self._delete(said, command)
        return self._publish(said, command)

    def _create(self, said: _Said, command: CreateBenchmark) -> Outcome:
        existing = self.benchmark_named(said.subject, command.name)
        if existing is not None:
            return _found(said, existing, command)
        if command.benchmark in self._benchmarks:
            return said.refused("conflict", "another benchmark has this id", "benchmark")
        names = ("name", "descriptor", "description", "difficulty", "version", "extra")
        members = {name: getattr(command, name) for name in names}
        benchmark = Benchmark(
            id=command.benchmark,
            owner=said.subject,
            created_at=said.at,
            row_version=said.version,
            **members,
        )
        self._benchmarks[benchmark.id] = benchmark
        self._names[said.subject, benchmark.name] = benchmark.id
        verdict = said.done(**benchmark.to_json(), created=True)
        return Outcome(verdict, (("benchmarks", benchmark.to_row()),))

    def _publish(self, said: _Said, command: Publish | Unpublish) -> Outcome:
        published = isinstance(command, Publish)
        if refused := self._not_there(said, command.kind, command.ids):
            return refused
        facts = {"kind": command.kind, "scope": command.scope, "subject": said.subject}
        rows: list[tuple[Table, Row]] = [
            ("publications", facts | {"id": one, "published": int(published), "version": said.version})
            for one in dict.fromkeys(command.ids)
        ]
        result = {"published" if published else "unpublished": len(rows), "scope": command.scope}
        return Outcome(said.done(**result), tuple(rows))

    def _delete(self, said: _Said, command: Delete) -> Outcome:
        kind, subject = command.kind, said.subject
        new = [one for one in dict.fromkeys(command.ids) if (kind, one, subject) not in self._deleted]
        if refused := self._not_there(said, kind, tuple(new)):
            return refused
        facts = {"kind": kind, "subject": subject, "deleted_at": said.at, "version": said.version}
        for one in new:
            self._deleted.add((kind, one, subject))
            if kind == "benchmark":
                self._names.pop((subject, self._benchmarks[one].name), None)
        rows: tuple[tuple[Table, Row], ...] = tuple(("deletions", facts | {"id": one}) for one in new)
        return Outcome(said.done(deleted=len(new)), rows, tuple(Erasure(kind, one, subject) for one in new))

    def _not_there(self, said: _Said, kind: str, ids: tuple[bytes, ...]) -> Outcome | None:
        """The refusal when one of the objects is certainly not the subject's; None when all may be.

        Another subject's benchmark is as unknown as one that does not exist.
        """
        for index, one in enumerate(ids):
            place = f"ids[{index}]"
            if (kind, one, said.subject) in self._deleted:
                return said.refused("not_found", f"{kind} {id_text(one)} was deleted", place)
            if kind == "benchmark":
                benchmark = self.benchmark(one)
                if benchmark is None or benchmark.owner != said.subject:
                    return said.refused("unknown_benchmark", f"you have no benchmark {id_text(one)}", place)
        return None


def check_command(data: bytes) -> Command:
    """The command of its bytes, with everything checked that needs no history; for the gateway.

    Raises:
        EventError: They are no command.
        ContractError: A member of it is not valid; `place` names it.
    """
    command = decode_command(data)
    _check_command(command)
    return command


def _found(said: _Said, existing: Benchmark, command: CreateBenchmark) -> Outcome:
    other = [
        name for name in SPACES if _json(existing.descriptor.get(name)) != _json(command.descriptor.get(name))
    ]
    if other:
        told = f"you have a benchmark {command.name!r} with another {' and another '.join(other)}"
        return said.refused("conflict", told, f"descriptor.{other[0]}")
    return Outcome(said.done(**existing.to_json(), created=False))


def _check_command(command: Command) -> None:
    """What the contract leaves open: names, scopes, and which ids a benchmark can have."""
    if isinstance(command, CreateBenchmark):
        check_name(command.name, "name")
        if command.benchmark == bytes(16) or ordinal_of(command.benchmark):
            raise ContractError("is no benchmark's id", place="benchmark")
    elif isinstance(command, Publish):  # whatever stands published can be taken back
        check_name(command.scope, "scope")


def _command_id_of(payload: bytes) -> str | None:
    """The id of a command that is not valid otherwise, if it has one."""
    try:
        command_id = orjson.loads(payload)["members"]["command_id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    usable = isinstance(command_id, str) and 1 <= len(command_id) <= MAX_COMMAND_ID
    return command_id if usable else None


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
