"""What a dataset has, before its rows are fetched."""

from collections.abc import Iterable

from tupli.models import EpisodeHeader


class Preview(list[EpisodeHeader]):
    """Headers of a dataset's episodes, and how many tuples the dataset has.

    `n_tuples` is None where a Python function chooses the tuples: nobody knows before it has seen them all.
    """

    def __init__(self, headers: Iterable[EpisodeHeader], n_tuples: int | None) -> None:
        super().__init__(headers)
        self.n_tuples = n_tuples

    @property
    def n_episodes(self) -> int:
        """How many episodes there are."""
        return len(self)

    def __repr__(self) -> str:
        tuples = "?" if self.n_tuples is None else f"{self.n_tuples:,}"
        return f"<{self.n_episodes:,} episodes, {tuples} tuples>"
