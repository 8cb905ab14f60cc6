"""Pages of a dataset: some episodes at a time, so many that their rows stay within bounds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tupli_query.core.headers import HEADER_PORTION_BYTES, header_size
from tupli_query.core.step_statements import PageEpisode

MAX_PAGE_EPISODES: Final = 2_048
"""Their ids are a parameter, 33 characters each; over HTTP ClickHouse takes 128 KiB (`http_max_field_value_size`)."""
MAX_PAGE_ROWS: Final = 1_048_576
"""A page costs its statement some 15 ms before the first row; rows that are passed on take no memory."""

MAX_HELD_ROWS: Final = 262_144
MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Where the engine has to hold the rows of a page, for their order."""


@dataclass(frozen=True)
class Listed:
    """One episode of a listing: its row, what gives the cursor that the listing goes on with it behind, its step schema.

    `schema` is the id of a step schema; a page has episodes of one.
    """

    row: Mapping[str, Any]
    cursor: Callable[[], str | None]
    schema: str = ""

    @property
    def episode(self) -> PageEpisode:
        """What reading its steps needs."""
        return PageEpisode.of_row(self.row)


@dataclass(frozen=True)
class EpisodePage:
    """Episodes that are read together; `first` is the number of the first one in the dataset."""

    first: int
    listed: tuple[Listed, ...]

    @property
    def after(self) -> str | None:
        """Where a listing has to begin to find this page again."""
        return self.listed[0].cursor()

    @property
    def schema(self) -> str:
        """The id of the step schema of its episodes."""
        return self.listed[0].schema


def cut_pages(
    listed: Iterable[Listed], *, first: int, most_rows: int, limit: int | None = None
) -> Iterator[EpisodePage]:
    """The pages of a listing, in its order; at least one episode each.

    Where the listing tells the sizes of headers, those of a page are a portion that is read at once.

    Args:
        listed: The episodes.
        first: The number of the first of them in the dataset.
        most_rows: Rows of a page at most, if it has more than one episode; see `held_rows`.
        limit: Episodes of the whole dataset at most.
    """
    page: list[Listed] = []
    start, rows, size = first, 0, 0
    for item in listed:
        if limit is not None and start + len(page) >= limit:
            break
        count = int(item.row["n_tuples"])
        header = header_size(item.row)
        is_full = (
            rows + count > most_rows or size + header > HEADER_PORTION_BYTES or len(page) == MAX_PAGE_EPISODES
        )
        if page and (is_full or item.schema != page[0].schema):
            yield EpisodePage(start, tuple(page))
            start, page, rows, size = start + len(page), [], 0, 0
        page.append(item)
        rows += count
        size += header
    if page:
        yield EpisodePage(start, tuple(page))


def held_rows(row_bytes: int) -> int:
    """Rows of a page that the engine holds in memory, where a row takes so many bytes."""
    return max(min(MAX_HELD_ROWS, MAX_HELD_BYTES // max(row_bytes, 1)), 1)
