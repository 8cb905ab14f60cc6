"""The dataset that a command's arguments choose."""

from tupli.datasets.tupli_dataset import TupliDataset, dataset
from tupli.errors import NotFound
from tupli.expressions import parse_expression


def chosen(benchmark: str, *, url: str | None, include: list[str] | None, where: str | None) -> TupliDataset:
    """The episodes of a benchmark that an expression chooses.

    Raises:
        NotFound: There is no such benchmark. A dataset of it is empty; on the command line it is a slip.
        ExpressionError: The expression is none.
    """
    data = dataset(benchmark, url=url, include=include)
    if where:
        data = data.with_episode_filter(parse_expression(where))
    if not data.benchmarks:
        raise NotFound(f"there is no benchmark {benchmark}")
    return data


def parts_of(text: str | None) -> list[str] | None:
    """The words of a list with commas; None of nothing."""
    return [part.strip() for part in text.split(",")] if text else None
