"""The dataset that a command's arguments choose."""

from typing import TYPE_CHECKING

import tupli

if TYPE_CHECKING:
    from tupli import TupliDataset


def chosen(
    benchmark: str, *, url: str | None, include: list[str] | None, where: str | None
) -> "TupliDataset":
    """The episodes of a benchmark that an expression chooses.

    Raises:
        ExpressionError: The expression is none.
    """
    data = tupli.dataset(benchmark, url=url, include=include)
    if where is None:
        return data
    return data.with_episode_filter(tupli.expressions.parse_expression(where))


def parts_of(text: str | None) -> list[str] | None:
    """The words of a list with commas; None of nothing."""
    return [part.strip() for part in text.split(",")] if text else None
