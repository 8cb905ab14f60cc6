"""The limit that stops a processor before it drains a bad deploy into dead letters."""

from collections import deque

from tupli_ingest.core.errors import TooManyDeadLetters


class DeadLetterLimit:
    """Allows `ratio` of the last `window` records, and fewer than `run` in a row.

    Tell it of records with `processed`, ask with `check` before letters are kept, and `count` those that are. A
    block that failed in part ends a run. It is not thread-safe: each processor has its own.
    """

    def __init__(self, *, ratio: float, window: int, run: int) -> None:
        self._ratio = ratio
        self._window = window
        self._run = run
        self._blocks: deque[tuple[int, int]] = deque()
        self._records = 0
        self._letters = 0
        self._in_a_row = 0
        self._pending = 0

    def processed(self, records: int) -> None:
        """So many records belong to the block whose letters come next."""
        self._pending += records

    def written(self) -> None:
        """The block is written; letters of it were counted before."""
        self._account(0)

    def check(self, letters: int) -> None:
        """Allow this many more letters.

        Raises:
            TooManyDeadLetters: They pass the limit.
        """
        if self._all_failed(letters) and self._in_a_row + letters >= self._run:
            raise TooManyDeadLetters(f"{self._in_a_row + letters} records in a row cannot be processed")
        records = max(self._records + self._pending, self._window)
        if self._letters + letters > self._ratio * records:
            raise TooManyDeadLetters(
                f"{self._letters + letters} of the last {records} records cannot be processed"
            )

    def count(self, letters: int) -> None:
        """So many letters are kept."""
        self._account(letters)

    def _all_failed(self, letters: int) -> bool:
        return letters >= max(self._pending, 1)

    def _account(self, letters: int) -> None:
        if not self._pending and not letters:
            return
        self._in_a_row = self._in_a_row + letters if self._all_failed(letters) else 0
        self._blocks.append((self._pending, letters))
        self._records += self._pending
        self._letters += letters
        self._pending = 0
        while self._records - self._blocks[0][0] >= self._window:
            records, counted = self._blocks.popleft()
            self._records -= records
            self._letters -= counted
