"""Pages of a dataset: some episodes at a time, so many that their rows stay within bounds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tupli_query.core.step_statements import PageEpisode

MAX_PAGE_EPISODES: Final = 4_096
MAX_PAGE_ROWS: Final = 1_048_576
"""A page costs its statement some 15 ms before the first row; rows that are passed on take no memory."""

MAX_HELD_ROWS: Final = 262_144
MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Where the engine has to hold the rows of a page: for their order, or to look at the row behind."""


@dataclass(frozen=True)
class Listed:
    """One episode of a listing: its row, and the cursor behind which the listing goes on with it."""

    row: Mapping[str, Any]
    after: str | None

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
        return self.listed[0].after


def cut_pages(
    listed: Iterable[Listed], *, first: int, most_rows: int, limit: int | None = None
) -> Iterator[EpisodePage]:
    """The pages of a listing, in its order; at least one episode each.

    Args:
        listed: The episodes.
        first: The number of the first of them in the dataset.
        most_rows: Rows of a page at most, if it has more than one episode; see `held_rows`.
        limit: Episodes of the whole dataset at most.
    """
    page: list[Listed] = []
    start, rows = first, 0
    for item in listed:
        if limit is not None and start + len(page) >= limit:
            break
        count = int(item.row["n_tuples"])
        if page and (rows + count > most_rows or len(page) == MAX_PAGE_EPISODES):
            yield EpisodePage(start, tuple(page))
            start, page, rows = start + len(page), [], 0
        page.append(item)
        rows += count
    if page:
        yield EpisodePage(start, tuple(page))


def held_rows(row_bytes: int) -> int:
    """Rows of a page that the engine holds in memory, where a row takes so many bytes."""
    return max(min(MAX_HELD_ROWS, MAX_HELD_BYTES // max(row_bytes, 1)), 1)
