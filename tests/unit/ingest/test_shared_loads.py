"""Who asks for streams while the store answers shares the next question."""

import asyncio
import threading
from collections.abc import Collection

import pytest

from tupli_ingest.core.errors import StoreUnavailable
from tupli_ingest.core.ports import StoredStream
from tupli_ingest.http.streams import SharedLoads
from tupli_schemas.ids import make_id

STREAMS = [make_id(1, number) for number in range(8)]


class Store:
    """Answers what it is asked as soon as it may."""

    def __init__(self) -> None:
        self.asked: list[list[bytes]] = []
        self.heard = threading.Semaphore(0)
        self.may_answer = threading.Semaphore(0)
        self.is_away = False

    def load(self, streams: Collection[bytes]) -> dict[bytes, StoredStream]:
        self.asked.append(list(streams))
        self.heard.release()
        assert self.may_answer.acquire(timeout=10)
        if self.is_away:
            raise StoreUnavailable("away")
        return {stream: StoredStream({"stream": stream}, ()) for stream in streams}

    async def was_asked(self, times: int) -> None:
        for _ in range(times):
            assert await asyncio.to_thread(self.heard.acquire, timeout=10)


def test_what_is_wanted_meanwhile_goes_together() -> None:
    store = Store()

    async def ask() -> list[StoredStream]:
        loads = SharedLoads(store.load)
        first = asyncio.create_task(loads.of(STREAMS[0]))
        await store.was_asked(1)
        rest = [asyncio.create_task(loads.of(stream)) for stream in (STREAMS[0], *STREAMS, STREAMS[3])]
        await asyncio.sleep(0)
        store.may_answer.release()
        store.may_answer.release()
        return await asyncio.gather(first, *rest)

    found = asyncio.run(ask())
    assert store.asked == [
        [STREAMS[0]],
        STREAMS,
    ]  # what was asked before a call says nothing about what came since
    assert [one.stream and one.stream["stream"] for one in found] == [
        STREAMS[0],
        STREAMS[0],
        *STREAMS,
        STREAMS[3],
    ]


def test_a_question_has_an_end() -> None:
    store = Store()

    async def ask() -> None:
        loads = SharedLoads(store.load, at_once=3)
        tasks = [asyncio.create_task(loads.of(stream)) for stream in STREAMS]
        await asyncio.sleep(0)
        for _ in range(3):
            store.may_answer.release()
        await asyncio.gather(*tasks)

    asyncio.run(ask())
    assert store.asked == [STREAMS[:3], STREAMS[3:6], STREAMS[6:]]


def test_who_gives_up_takes_nothing_from_others_and_a_store_that_is_away_is_told_to_all() -> None:
    store = Store()

    async def ask() -> None:
        loads = SharedLoads(store.load)
        gone = asyncio.create_task(loads.of(STREAMS[0]))
        await store.was_asked(1)
        gone.cancel()
        store.is_away = True
        waiting = [asyncio.create_task(loads.of(stream)) for stream in STREAMS[:2]]
        await asyncio.sleep(0)
        store.may_answer.release()
        store.may_answer.release()
        found = await asyncio.gather(gone, *waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert [str(error) for error in found[1:]] == ["away", "away"]
        store.is_away = False
        store.may_answer.release()
        assert (await loads.of(STREAMS[1])).stream == {"stream": STREAMS[1]}  # it goes on

    asyncio.run(ask())


@pytest.mark.filterwarnings("error")
def test_an_error_that_nobody_waits_for_is_no_trouble() -> None:
    store = Store()
    store.is_away = True

    async def ask() -> None:
        loads = SharedLoads(store.load)
        gone = asyncio.create_task(loads.of(STREAMS[0]))
        await store.was_asked(1)
        gone.cancel()
        store.may_answer.release()
        assert loads._asking is not None
        await loads._asking

    asyncio.run(ask())


def test_an_answer_that_leaves_one_out_lets_nobody_wait_for_ever() -> None:
    known = {STREAMS[0]: StoredStream({"stream": STREAMS[0]}, ())}

    async def ask() -> None:
        loads = SharedLoads(lambda _: known)
        with pytest.raises(KeyError):
            await asyncio.wait_for(loads.of(STREAMS[1]), 10)
        assert (await asyncio.wait_for(loads.of(STREAMS[0]), 10)).stream == {"stream": STREAMS[0]}

    asyncio.run(ask())
