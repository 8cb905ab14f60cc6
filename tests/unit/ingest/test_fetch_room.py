"""Records count for as long as somebody holds them, whatever becomes of them."""

import threading
from dataclasses import dataclass

from tupli_ingest.adapters.fetch_room import Room


@dataclass
class Fetched:
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def test_what_is_held_counts() -> None:
    room = Room(10)
    first, second = room.take(Fetched(bytes(4))), room.take(Fetched(bytes(6)))
    assert (room.held, room.is_full) == (10, True)
    assert len(first.record.value) == 4
    del first
    assert (room.held, room.is_full) == (6, False)
    del second
    assert room.held == 0


def test_keys_and_headers_count_as_values_do() -> None:
    room = Room(100)
    held = room.take(Fetched(bytes(1), bytes(20), (("é", bytes(3)), ("name", None))))
    assert (room.held, held.size) == (30, 30)


def test_a_record_without_a_value_takes_no_room() -> None:
    room = Room(1)
    held = room.take(Fetched(None))
    assert (room.held, held.record.value) == (0, None)


def test_one_record_larger_than_the_room_is_taken() -> None:
    """Otherwise it would never come in."""
    room = Room(10)
    seen = [room.is_full]
    held = room.take(Fetched(bytes(100)))
    seen.append(room.is_full)
    del held
    assert [*seen, room.is_full] == [False, True, False]


def test_what_another_thread_drops_is_given_back() -> None:
    room = Room(10)
    held = [room.take(Fetched(bytes(3))) for _ in range(1_000)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert room.held == 0
