"""Awaiting what seldom waits, without a task for it."""

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Begun(Awaitable[T]):
    """A coroutine that runs from here, until it ends or waits for something; awaiting it does the rest.

    A task costs more than most of what is done in one; here it is needed only for a coroutine that waits.

    Attributes:
        is_done: Whether it has ended; `result` is what it returned then.

    Raises:
        BaseException: What the coroutine raised before it waited.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.is_done = False
        self.result: T | None = None
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as ended:
            self.is_done, self.result = True, ended.value

    def __await__(self) -> Generator[Any, Any, T]:
        """What `await` does from the first wait on (PEP 380), in whichever task awaits it; once, while it is not done."""
        coroutine, waits_for = self._coroutine, self._waits_for
        while True:
            try:
                try:
                    answer = yield waits_for
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as error:  # noqa: BLE001 -- a cancellation among others: the coroutine's to handle
                    waits_for = coroutine.throw(error)
                else:
                    waits_for = coroutine.send(answer)
            except StopIteration as ended:
                result: T = ended.value
                return result
