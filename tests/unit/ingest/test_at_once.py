"""A coroutine that runs until it waits, and is awaited from there."""

import asyncio

import pytest

from tupli_ingest.adapters.at_once import Begun


async def answer(*waits: "asyncio.Future[int]") -> list[int]:
    return [await wait for wait in waits]


def test_what_does_not_wait_is_done_at_once() -> None:
    begun = Begun(answer())
    assert begun.is_done
    assert begun.result == []


def test_what_it_raises_before_it_waits_is_raised_here() -> None:
    async def fails() -> None:
        raise KeyError("early")

    with pytest.raises(KeyError, match="early"):
        Begun(fails())


def test_what_waits_goes_on_in_another_task() -> None:
    async def run() -> list[int]:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        begun = Begun(answer(first, second))
        assert not begun.is_done
        rest = asyncio.ensure_future(begun)
        for number, future in enumerate((first, second), 1):
            await asyncio.sleep(0)
            assert not rest.done()
            future.set_result(number)
        return await rest

    assert asyncio.run(run()) == [1, 2]


def test_a_bare_pause_counts_as_waiting() -> None:
    async def run() -> str:
        async def pauses() -> str:
            await asyncio.sleep(0)
            return "over"

        begun = Begun(pauses())
        assert not begun.is_done
        return await begun

    assert asyncio.run(run()) == "over"


def test_a_cancellation_reaches_it() -> None:
    async def run() -> list[str]:
        told = []

        async def waits() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        rest = asyncio.ensure_future(Begun(waits()))
        await asyncio.sleep(0)
        rest.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rest
        return told

    assert asyncio.run(run()) == ["cancelled"]


def test_what_fails_while_it_is_waited_for_fails_within() -> None:
    async def run() -> str:
        future = asyncio.get_running_loop().create_future()

        async def recovers() -> str:
            try:
                await future
            except ValueError as error:
                return f"after {error}"
            return "never"

        begun = Begun(recovers())
        future.set_exception(ValueError("trouble"))
        return await begun

    assert asyncio.run(run()) == "after trouble"
