"""Whether the store answers, for those who look every few seconds and want an answer also while it hangs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from tupli_query.core.reader import ReaderFailed

PATIENCE_SECONDS: Final = 5.0


class StoreProbe:
    """Asks one question at a time, however many wait for its answer; used on one event loop."""

    def __init__(
        self, ask: Callable[[], None], threads: Executor, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._ask = ask
        self._threads = threads
        self._patience = patience
        self._asked: asyncio.Future[None] | None = None

    async def answered(self) -> None:
        """Say nothing when the store answers.

        Raises:
            ReaderError: It does not, or not in time.
        """
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().run_in_executor(self._threads, self._ask)
        try:
            await asyncio.wait_for(asyncio.shield(self._asked), self._patience)
        except TimeoutError as error:
            raise ReaderFailed(f"the store has not answered for {self._patience:g} s") from error
