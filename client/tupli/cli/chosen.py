"""The dataset that a command's arguments choose."""

from tupli.datasets.tupli_dataset import TupliDataset, dataset
from tupli.expressions import parse_expression


def chosen(benchmark: str, *, url: str | None, include: list[str] | None, where: str | None) -> TupliDataset:
    """The episodes of a benchmark that an expression chooses.

    Raises:
        ExpressionError: The expression is none.
    """
    data = dataset(benchmark, url=url, include=include)
    return data.with_episode_filter(parse_expression(where)) if where else data


def parts_of(text: str | None) -> list[str] | None:
    """The words of a list with commas; None of nothing."""
    return [part.strip() for part in text.split(",")] if text else None
