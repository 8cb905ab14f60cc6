"""Progress on stderr, when somebody watches and it takes a while."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

SHOW_AFTER_SECONDS: Final = 1.0


class Progress:
    """Counts rows; shows a bar once a second has passed, on a terminal only."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._watched = sys.stderr.isatty()
        self._since = time.monotonic()
        self._rows = 0
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, rows: int, most: int | None) -> None:
        """So many rows more have come, of at most `most`."""
        if not self._watched:
            return
        self._rows += rows
        if self._bar is None and time.monotonic() - self._since > SHOW_AFTER_SECONDS:
            self._show(most)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._rows)

    def _show(self, most: int | None) -> None:
        # Whoever never sees a bar does not wait for what draws it.
        from rich.console import Console  # noqa: PLC0415 -- a tenth of a second
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 -- too
        from rich.progress import Progress as Bar  # noqa: PLC0415 -- too

        columns = (TextColumn(self._label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._label, total=most)
        self._bar.start()
