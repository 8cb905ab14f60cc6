"""The dataset that a command's arguments choose."""

from typing import TYPE_CHECKING

import tupli
from tupli.errors import InvalidInput

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


def parts_of(text: str | None, option: str) -> list[str] | None:
    """The words of a list with commas; None where the option was not given.

    Raises:
        InvalidInput: A word is empty.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InvalidInput(f"{text!r} has an empty name: give names separated by commas", place=option)
    return parts
