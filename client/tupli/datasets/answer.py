"""A dataset's answer as the server streams it: what one response's frames say, checked while they come.

    QUERY_HEADER {"type": "dataset", ...}    once, first
    QUERY_HEADER {"type": "page", ...}       the episodes whose rows follow, and where to begin again; PART frames
                                             before it, where it is larger than a frame
    ARROW                                    some of their rows; a complete Arrow stream
    ...
    CLOSE {"rows", "checksum", "cursor"}     or PROBLEM

Only an answer with its closing frame is whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import xxhash

from tupli.datasets.port import Readable
from tupli.errors import IntegrityError, TransportError, error_of
from tupli_schemas.errors import FrameError, SchemaMismatch
from tupli_schemas.framing import Frame, FrameReader, Kind, PartJoiner, View, packed_checksum
from tupli_schemas.problems import Problem
from tupli_schemas.steps import StepSchema


@dataclass(frozen=True)
class Head:
    """What the answer is of: the step schema, where it stands, which columns rows have.

    `position` pins the dataset: asking again with it gives the same rows. `episodes` and `tuples` are
    upper bounds, known before rows are read.
    """

    schema: StepSchema | None
    columns: tuple[str, ...]
    position: dict[str, Any]
    episodes: int
    tuples: int

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Head":
        """The head of its JSON."""
        schema = data.get("step_schema")
        return Head(
            StepSchema.from_json(schema) if schema else None,
            tuple(data["columns"]),
            data["position"],
            int(data["episodes"]),
            int(data["tuples"]),
        )


@dataclass(frozen=True)
class Page:
    """Some episodes: ids, how many tuples of each follow (None when a filter or limit decides), headers when asked for.

    `extra` says, where the dataset's episodes differ in their extra facts, which of the columns `x<i>` of these rows
    leaf of the dataset's facts is, None for one that they lack; `facts` then names the facts that they have.
    """

    first: int
    ids: tuple[str, ...]
    rows: tuple[int, ...] | None
    headers: tuple[dict[str, Any], ...]
    after: Any
    extra: tuple[int | None, ...] | None = None
    facts: frozenset[str] | None = None

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Page":
        """The page of its JSON."""
        rows, extra, facts = data.get("rows"), data.get("extra"), data.get("facts")
        return Page(
            int(data["first"]),
            tuple(data["ids"]),
            None if rows is None else tuple(rows),
            tuple(data.get("headers") or ()),
            data.get("after"),
            None if extra is None else tuple(None if index is None else int(index) for index in extra),
            None if facts is None else frozenset(facts),
        )


@dataclass(frozen=True)
class Close:
    """The end of an answer; `cursor` is where the dataset goes on, when a limit ended it."""

    cursor: Any = None


@dataclass(frozen=True)
class Rows:
    """Some rows of the page."""

    batch: pa.RecordBatch


Item: TypeAlias = Head | Page | Close | Rows


@dataclass
class Answer:
    """Reads one response. `read` yields what it says and raises when that is not everything."""

    rows: int = 0
    _checksum: Any = field(default_factory=xxhash.xxh3_64)
    _closed: bool = False
    _parts: PartJoiner = field(default_factory=PartJoiner)

    def read(self, source: Iterable[bytes] | Readable) -> Iterator[Item]:
        """The items of the response, the closing one last.

        Raises:
            TransportError: It is cut or damaged on the way, or the server gave up: resume.
            IntegrityError: Its rows are not what the closing frame says.
            TupliError: The problem that the server answered with.
        """
        try:
            for frame in _frames(source):
                yield from self._items(frame)
        except FrameError as error:
            raise TransportError(f"the answer is damaged: {error}") from error
        if not self._closed:
            raise TransportError("the answer is cut: its closing frame is missing")

    def _items(self, frame: Frame | View) -> Iterator[Item]:
        if self._closed:
            raise FrameError("there is more after the closing frame")
        if frame.kind is Kind.ARROW:
            self._checksum.update(packed_checksum(frame.checksum))
            for batch in _batches(frame.payload):
                self.rows += batch.num_rows
                yield Rows(batch)
            return
        payload = self._parts.payload(frame)
        if payload is not None:
            yield self._message(frame.kind, _json(payload))

    def _message(self, kind: Kind, data: dict[str, Any]) -> Item:
        if kind is Kind.PROBLEM:
            problem = Problem.from_json(data)
            raise error_of(problem, problem.status)
        try:
            if kind is Kind.CLOSE:
                return self._close(data)
            if kind is Kind.QUERY_HEADER:
                return Head.from_json(data) if data["type"] == "dataset" else Page.from_json(data)
        except (KeyError, TypeError, ValueError, SchemaMismatch) as error:
            raise TransportError(f"the server's {kind.name} frame is not understood ({error!r})") from error
        raise FrameError(f"a frame of kind {kind.name} does not belong into a dataset")

    def _close(self, data: dict[str, Any]) -> Close:
        if int(data["rows"]) != self.rows or data["checksum"] != self._checksum.hexdigest():
            raise IntegrityError(
                f"{self.rows} rows with checksum {self._checksum.hexdigest()} came, "
                f"the server sent {data['rows']} with {data['checksum']}"
            )
        self._closed = True
        return Close(data.get("cursor"))


def _frames(source: Iterable[bytes] | Readable) -> Iterator[Frame | View]:
    reader = FrameReader()
    if isinstance(source, Readable):
        yield from reader.pull(source.readinto)
        return
    for chunk in source:
        yield from reader.feed(chunk)
    reader.finish()


def _batches(payload: bytes | memoryview) -> Iterator[pa.RecordBatch]:
    try:
        yield from pa.ipc.open_stream(pa.py_buffer(payload))
    except (pa.ArrowException, OSError) as error:
        raise FrameError(f"its Arrow data cannot be read ({type(error).__name__})") from error


def _json(payload: bytes | memoryview) -> dict[str, Any]:
    try:
        data = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise FrameError("a frame's JSON cannot be read") from error
    if not isinstance(data, dict):
        raise FrameError("a frame's JSON is not an object")
    return data
