"""The rows of a dataset, however often the way there breaks.

A broken answer is asked for again at the pinned position, from where it broke. What comes out is the whole
dataset, each row once, or an error.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli.datasets.answer import Answer, Close, Head, Page
from tupli.datasets.port import QueryPort
from tupli.errors import Conflict, IntegrityError, TransportError
from tupli_schemas.arrow_numbers import flat_numbers
from tupli_schemas.ids import parse_id

QUERY_PATH: Final = "/query/v1/datasets/query"
RETRIES: Final = 10
"""Some 25 seconds: as long as a server may take to start again."""
MAX_PAUSE_SECONDS: Final = 5.0

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows, in the dataset's order.

    `episode` indexes the stream's `ids`, `step` counts within the episode; `match` is False for rows that are
    there as somebody's next observation only. A column `x<i>` of an extra fact that the episodes lack is not there;
    `facts` names those that they have, None if they have all.
    """

    columns: Mapping[str, pa.Array]
    episode: Ints
    step: Ints
    match: npt.NDArray[np.bool_]
    facts: frozenset[str] | None = None

    def has_fact(self, name: str, columns: Sequence[str]) -> bool:
        """Whether the episodes have an extra fact of these columns; one without any is told by its name alone."""
        if columns:
            return all(column in self.columns for column in columns)
        return self.facts is None or name in self.facts

    @property
    def matched(self) -> int:
        """Rows that count."""
        return int(np.count_nonzero(self.match))

    def __len__(self) -> int:
        return len(self.step)


class DatasetStream:
    """One reading of a dataset.

    Args:
        port: The way to the query service.
        request: The question, without cursor and position.
        retries: How often in a row, without a new row, it may fail.
        sleep: Waits between attempts.

    Attributes:
        head: What the dataset is; None before the first block is asked for.
        ids: The episodes so far, as text.
        headers: Their headers, when the question asks for them.
        cursor: Where the dataset goes on behind a limit; None when it is complete.
    """

    def __init__(
        self,
        port: QueryPort,
        request: Mapping[str, Any],
        *,
        retries: int = RETRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._port = port
        self._request = dict(request)
        self._retries = retries
        self._sleep = sleep
        self.head: Head | None = None
        self.ids: list[str] = []
        self.headers: list[dict[str, Any]] = []
        self.cursor: Any = None
        self.matched = 0
        self._failures = 0
        self._place = _Place()

    def blocks(self) -> Iterator[Block]:
        """The rows, block by block.

        Raises:
            TransportError: The server could not be reached, or broke off, too many times in a row.
            Conflict: Episodes were deleted meanwhile.
            IntegrityError: What came is not what the server says that it sent.
        """
        while True:
            try:
                yield from self._attempt()
            except TransportError as error:
                self._failures += 1
                if self._failures > self._retries:
                    raise
                pause = error.retry_after or 0.05 * 2**self._failures
                self._sleep(min(pause, MAX_PAUSE_SECONDS))
            else:
                return

    def _attempt(self) -> Iterator[Block]:
        place = self._place
        resent = place.pending
        with self._port.stream(QUERY_PATH, self._question()) as chunks:
            for item in Answer().read(chunks):
                if isinstance(item, Head):
                    self._begin(item)
                elif isinstance(item, Page):
                    place.turn(item)
                    self._remember(item)
                elif isinstance(item, Close):
                    place.check_page()
                    self.cursor = item.cursor
                else:
                    block = place.read(item.batch)
                    if resent and len(block):
                        block, resent = place.without_resent(block), False
                    place.advance(block)
                    if len(block):
                        self._failures = 0
                        self.matched += block.matched
                        yield block

    def _question(self) -> dict[str, Any]:
        if self.head is None:
            return self._request
        question = self._request | {"position": self.head.position}
        cursor = self._place.cursor()
        if cursor is not None:
            question["cursor"] = cursor
        if self._request.get("limit") is not None:
            question["limit"] = self._request["limit"] - self.matched + int(self._place.pending)
        return question

    def _begin(self, head: Head) -> None:
        if self.head is not None and (head.columns, head.position) != (self.head.columns, self.head.position):
            raise IntegrityError("the server went on with another dataset than it began")
        self.head = self.head or head

    def _remember(self, page: Page) -> None:
        known = self.ids[page.first :]
        if page.first > len(self.ids) or known != list(page.ids)[: len(known)]:
            raise IntegrityError("the episodes of the dataset changed while it was read; read it again")
        self.ids += page.ids[len(known) :]
        self.headers += page.headers[len(known) :]


class _Place:
    """Where the reading stands: the page, and the last row of it that came."""

    def __init__(self) -> None:
        self._page: Page | None = None
        self._index: dict[bytes, int] = {}
        self._seen: set[int] = set()
        self._matched = 0
        self._last: tuple[int, int] | None = None
        self.pending = False

    def cursor(self) -> dict[str, Any] | None:
        """Where to begin again; None for the beginning. A row whose next one is still due is sent again."""
        if self._page is None:
            return None
        out: dict[str, Any] = {"after": self._page.after, "first": self._page.first}
        if self._last is not None:
            episode, step = self._last
            out |= {"episode": self._page.ids[episode - self._page.first]}
            out |= {"step": step if self.pending else step + 1}
        return out

    def turn(self, page: Page) -> None:
        """Begin a page, or begin it again."""
        if self._page is None or page.after != self._page.after:
            self.check_page()
            self._last, self.pending = None, False
        self._page = page
        self._matched = 0
        self._seen = set()
        self._index = {parse_id(text): page.first + i for i, text in enumerate(page.ids)}

    def check_page(self) -> None:
        """Say that the page is over: every tuple that it announced must have come.

        Raises:
            Conflict: All tuples of some episodes are gone.
            IntegrityError: Others are missing.
        """
        page = self._page
        if page is None or page.rows is None or self._matched == sum(page.rows):
            return
        gone = sum(rows for index, rows in enumerate(page.rows, page.first) if index not in self._seen)
        if self._matched + gone == sum(page.rows):
            raise Conflict("episodes of the dataset were deleted while it was read; read it again")
        raise IntegrityError(f"{self._matched} of the {sum(page.rows)} tuples of a page came")

    def read(self, batch: pa.RecordBatch) -> Block:
        """The block of a batch."""
        if self._page is None:
            raise TransportError("rows came before their page")
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        if self._page.extra is not None:
            columns = _renamed(columns, self._page.extra)
        if not {"episode", "step", "is_match"} <= set(columns):
            raise TransportError("rows came without their episodes and steps")
        step: Ints = flat_numbers(columns.pop("step"), np.int64)
        match = flat_numbers(columns.pop("is_match"), np.bool_)
        block = Block(columns, self._episodes(columns.pop("episode")), step, match, self._page.facts)
        self._matched += block.matched
        return block

    def without_resent(self, block: Block) -> Block:
        """The block without the row that came before the answer broke off."""
        if (int(block.episode[0]), int(block.step[0])) != self._last:
            raise IntegrityError("the server did not go on where it broke off")
        columns = {name: column.slice(1) for name, column in block.columns.items()}
        return replace(
            block, columns=columns, episode=block.episode[1:], step=block.step[1:], match=block.match[1:]
        )

    def advance(self, block: Block) -> None:
        """Remember the block's last row."""
        if len(block):
            self._last = int(block.episode[-1]), int(block.step[-1])
            self.pending = bool(block.match[-1])

    def _episodes(self, ids: pa.Array) -> Ints:
        """Indices of 16-byte ids; equal ones stand together."""
        count = len(ids)
        if not count:
            return np.empty(0, np.int64)
        pairs = flat_numbers(ids, "V16").view(np.uint64).reshape(-1, 2)
        head, tail = pairs[:, 0], pairs[:, 1]
        starts = [0, *(np.flatnonzero((head[1:] != head[:-1]) | (tail[1:] != tail[:-1])) + 1).tolist()]
        try:
            runs = [self._index[pairs[start].tobytes()] for start in starts]
        except KeyError as error:
            raise IntegrityError("rows of an episode came that the page does not have") from error
        self._seen.update(runs)
        return np.repeat(np.asarray(runs, np.int64), np.diff([*starts, count]))


def _renamed(columns: dict[str, pa.Array], extra: tuple[int | None, ...]) -> dict[str, pa.Array]:
    """The columns with the extra facts under their numbers in the dataset."""
    try:
        facts = {f"x{i}": columns[f"x{own}"] for i, own in enumerate(extra) if own is not None}
    except KeyError as error:
        raise TransportError("rows came without their extra facts") from error
    return {name: column for name, column in columns.items() if name[0] != "x"} | facts
