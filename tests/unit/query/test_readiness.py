"""A store that hangs is told of in time, and asked by one thread however often somebody looks."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tupli_query.core.reader import ReaderFailed
from tupli_query.http.readiness import StoreProbe


class Hanging:
    """Answers when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()

    def ask(self) -> None:
        self.asked += 1
        assert self.may_answer.wait(10)


def test_a_hanging_store_is_asked_once() -> None:
    store = Hanging()

    async def run() -> None:
        with ThreadPoolExecutor(4) as threads:
            probe = StoreProbe(store.ask, threads, patience=0.01)
            for _ in range(3):
                with pytest.raises(ReaderFailed, match="has not answered"):
                    await probe.answered()
            store.may_answer.set()
            patient = StoreProbe(store.ask, threads)
            await asyncio.gather(patient.answered(), patient.answered())
            await patient.answered()

    asyncio.run(run())
    assert store.asked == 1 + 1 + 1
