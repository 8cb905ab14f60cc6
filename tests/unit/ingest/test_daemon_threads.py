"""Calls that hang hold up nobody's end, and those that end are told."""

import asyncio
import threading
import time

import pytest

from tupli_ingest.adapters.daemon_threads import DaemonThreads


def test_a_call_that_hangs_does_not_hold_up_the_end_of_a_loop() -> None:
    hangs = threading.Event()

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        begun = asyncio.create_task(asyncio.to_thread(hangs.wait, 30))
        await asyncio.sleep(0)
        begun.cancel()

    before = time.monotonic()
    asyncio.run(run())
    took = time.monotonic() - before
    hangs.set()
    assert took < 10


def test_what_a_call_answers_or_raises_is_told() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def run() -> int:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(lambda: 7)

    assert asyncio.run(run()) == 7
