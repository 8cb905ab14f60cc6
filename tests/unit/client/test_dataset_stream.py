"""The resuming reader against scripted answers."""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import xxhash

from tupli.datasets.collect import Collector
from tupli.datasets.stream import DatasetStream
from tupli.errors import Conflict, IntegrityError, TransportError
from tupli_schemas.framing import MAX_FRAME_BYTES, Kind, encode_frame, message_parts
from tupli_schemas.ids import episode_id, id_text, make_id
from tupli_schemas.problems import Problem
from tupli_schemas.steps import Cell, Leaf, StepSchema

STREAM = make_id(1, 2)
IDS = [episode_id(STREAM, n) for n in (1, 2, 3)]
SCHEMA = StepSchema((Leaf("", Cell("f8")),), (Leaf("", Cell("i8")),))
POSITION = [[1, 0, 9]]


def rows(episode: int, *steps: tuple[int, int]) -> bytes:
    """(step, is_match) of an episode, as the server's Arrow; the observation is 100 * episode + step."""
    n = len(steps)
    table = pa.table(
        {
            "episode": pa.array([IDS[episode]] * n, pa.binary(16)),
            "step": pa.array([step for step, _ in steps], pa.uint64()),
            "is_final": pa.array([0] * n, pa.uint8()),
            "is_match": pa.array([match for _, match in steps], pa.uint8()),
            "o0": pa.array([100.0 * episode + step for step, _ in steps]),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def head(**members: Any) -> bytes:
    values = {
        "type": "dataset", "step_schema": SCHEMA.to_json(), "columns": ["o0"], "position": POSITION, "episodes": 3,
        "tuples": 9,
    } | members  # fmt: skip
    return encode_frame(Kind.QUERY_HEADER, orjson.dumps(values))


def page(first: int, *numbers: int, counts: list[int] | None = None) -> bytes:
    ids = [id_text(IDS[number]) for number in numbers]
    data = {"type": "page", "first": first, "after": f"after-{first}", "ids": ids, "rows": counts}
    return encode_frame(Kind.QUERY_HEADER, orjson.dumps(data))


def answer(*parts: bytes, close: bool = True, count: int | None = None) -> bytes:
    """Frames of parts (Arrow where they are no frames yet), and the closing one."""
    out, checksum, total = [], xxhash.xxh3_64(), 0
    for part in parts:
        if part[:2] == b"TF":
            out.append(part)
            continue
        checksum.update(struct.pack("<Q", xxhash.xxh3_64_intdigest(part)))
        total += pa.ipc.open_stream(part).read_all().num_rows
        out.append(encode_frame(Kind.ARROW, part))
    if close:
        data = {"rows": total if count is None else count, "checksum": checksum.hexdigest(), "cursor": None}
        out.append(encode_frame(Kind.CLOSE, orjson.dumps(data)))
    return b"".join(out)


class Scripted:
    """Gives one answer after the other, and remembers the questions."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.questions: list[dict[str, Any]] = []

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        self.questions.append(dict(body))
        said = self.answers.pop(0)
        if isinstance(said, Exception):
            raise said
        yield (said[i : i + 7] for i in range(0, len(said), 7))


def read(port: Scripted, **request: Any) -> tuple[list[float], list[bool], list[float]]:
    """Observations, has_next and next observations of what a stream gives."""
    stream = DatasetStream(port, request, sleep=lambda _: None, retries=3)
    collector = Collector(SCHEMA, ("observation", "next_observation"), 1)
    for block in stream.blocks():
        collector.add(block)
    table = collector.table()
    return table["observation"].tolist(), table["has_next"].tolist(), table["next_observation"].tolist()


def test_a_row_finds_its_next_one_in_the_block_behind() -> None:
    port = Scripted(answer(head(), page(0, 0, 1), rows(0, (0, 1), (1, 1)), rows(0, (2, 0)), rows(1, (0, 1))))
    observed, has_next, following = read(port)
    assert observed == [0.0, 1.0, 100.0]
    assert has_next == [True, True, False]
    assert following[:2] == [1.0, 2.0]


def test_rows_of_another_episode_or_a_later_step_are_no_next_ones() -> None:
    port = Scripted(answer(head(), page(0, 0, 1), rows(0, (0, 1), (2, 1)), rows(1, (3, 1), (4, 0))))
    assert read(port)[1] == [False, False, True]


def test_a_later_step_at_the_head_of_a_block_is_no_next_one() -> None:
    port = Scripted(answer(head(), page(0, 0), rows(0, (0, 1)), rows(0, (5, 1), (6, 0))))
    assert read(port)[1] == [False, True]


def test_a_cut_answer_goes_on_with_the_row_that_waits() -> None:
    cut = answer(head(), page(0, 0, 1), rows(0, (0, 1), (1, 1)), close=False)
    rest = answer(head(), page(0, 0, 1), rows(0, (1, 1), (2, 0)), rows(1, (0, 1)))
    port = Scripted(cut, rest)
    assert read(port)[0] == [0.0, 1.0, 100.0]
    assert port.questions[1]["position"] == POSITION
    assert port.questions[1]["cursor"] == {
        "after": "after-0",
        "first": 0,
        "episode": id_text(IDS[0]),
        "step": 1,
    }


def test_a_cut_between_pages_goes_on_with_the_page_behind() -> None:
    cut = answer(head(), page(0, 0), rows(0, (0, 1), (1, 0)), page(1, 1), close=False)
    port = Scripted(cut, answer(head(), page(1, 1), rows(1, (0, 1))))
    assert read(port)[0] == [0.0, 100.0]
    assert port.questions[1]["cursor"] == {"after": "after-1", "first": 1}


def test_a_limit_counts_what_came_before_the_cut() -> None:
    cut = answer(head(), page(0, 0), rows(0, (0, 1), (1, 1)), close=False)
    port = Scripted(cut, answer(head(), page(0, 0), rows(0, (1, 1), (2, 1))))
    read(port, limit=3)
    assert port.questions[1]["limit"] == 2


def test_new_rows_give_new_patience() -> None:
    cuts = [answer(head(), page(0, 0), close=False)] * 3
    one = answer(head(), page(0, 0), rows(0, (0, 1)), close=False)
    port = Scripted(*cuts, one, *cuts[:2], answer(head(), page(0, 0), rows(0, (0, 1), (1, 1))))
    assert read(port)[0] == [0.0, 1.0]


def test_episodes_that_were_deleted_meanwhile_are_no_damage() -> None:
    whole = [rows(0, (0, 1), (1, 1)), rows(2, (0, 1))]
    with pytest.raises(Conflict, match="deleted while it was read"):
        read(Scripted(answer(head(), page(0, 0, 1, 2, counts=[2, 5, 1]), *whole)))
    with pytest.raises(IntegrityError, match="3 of the 9 tuples"):
        read(Scripted(answer(head(), page(0, 0, 1, 2, counts=[3, 5, 1]), *whole)))


def test_too_many_cuts_in_a_row_raise() -> None:
    with pytest.raises(TransportError, match="cut"):
        read(Scripted(*[answer(head(), close=False)] * 9))


def test_a_server_that_is_away_is_asked_again() -> None:
    port = Scripted(TransportError("away"), answer(head(), page(0, 0), rows(0, (0, 1))))
    assert read(port)[0] == [0.0]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(answer(head(), page(0, 0), rows(0, (0, 1)), count=2), id="wrong number of rows"),
        pytest.param(
            answer(head(), page(0, 0, counts=[2]), rows(0, (0, 1))), id="fewer tuples than the page has"
        ),
        pytest.param(answer(head(), page(0, 0), rows(1, (0, 1))), id="rows of a stranger"),
        pytest.param(answer(head(), page(3, 0), rows(0, (0, 1))), id="a page is missing"),
    ],
)
def test_what_does_not_add_up_raises(said: bytes) -> None:
    with pytest.raises(IntegrityError):
        read(Scripted(said))


def test_going_on_elsewhere_than_where_it_broke_raises() -> None:
    cut = answer(head(), page(0, 0), rows(0, (0, 1), (1, 1)), close=False)
    with pytest.raises(IntegrityError, match="where it broke off"):
        read(Scripted(cut, answer(head(), page(0, 0), rows(0, (2, 1)))))


def test_a_dataset_that_changed_meanwhile_raises() -> None:
    cut = answer(head(), page(0, 0), rows(0, (0, 1)), close=False)
    with pytest.raises(IntegrityError, match="changed"):
        read(Scripted(cut, answer(head(), page(0, 1), rows(1, (0, 1)))))


def test_a_problem_on_the_way_is_raised() -> None:
    problem = encode_frame(Kind.PROBLEM, orjson.dumps(Problem("conflict", "gone").to_json()))
    with pytest.raises(Conflict, match="gone"):
        read(Scripted(answer(head(), page(0, 0), rows(0, (0, 1)), problem, close=False)))


def test_an_internal_problem_is_tried_again() -> None:
    problem = encode_frame(Kind.PROBLEM, orjson.dumps(Problem("internal", "oops").to_json()))
    port = Scripted(answer(head(), problem, close=False), answer(head(), page(0, 0), rows(0, (0, 1))))
    assert read(port)[0] == [0.0]


def test_taking_leaves_what_comes_later_whole() -> None:
    collector = Collector(SCHEMA, ("observation", "next_observation", "step"), 2)
    said = answer(head(), page(0, 0), rows(0, (0, 1), (1, 1), (2, 1)), rows(0, (3, 1), (4, 0)))
    taken = []
    for block in DatasetStream(Scripted(said), {}).blocks():
        collector.add(block)
        while collector.complete >= 2:
            taken.append(collector.take(2))
    assert [part["step"].tolist() for part in taken] == [[0, 1], [2, 3]]
    assert [part["next_observation"].tolist() for part in taken] == [[1.0, 2.0], [3.0, 4.0]]
    assert np.concatenate([part["has_next"] for part in taken]).all()


def test_headers_larger_than_a_frame_come_in_parts() -> None:
    headers = [{"metadata": {"blob": "x" * MAX_FRAME_BYTES}}, {"metadata": {}}]
    data = {
        "type": "page",
        "first": 0,
        "after": None,
        "ids": [id_text(one) for one in IDS[:2]],
        "headers": headers,
    }
    pages = message_parts(Kind.QUERY_HEADER, orjson.dumps(data))
    assert len(pages) == 4

    class Whole(Scripted):
        @contextmanager
        def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
            yield iter(self.answers)  # type: ignore[arg-type]  # bytes alone

    rest = answer(rows(0, (0, 1)))
    stream = DatasetStream(Whole(head(), *map(bytes, pages), rest), {})
    assert sum(len(block) for block in stream.blocks()) == 1
    assert stream.headers == headers
