"""Control records, plans and infos of slots: pure parts of the recorder."""

import numpy as np
import pytest

from tupli.recording.vector_values import batch_leaves, final_info, slot_info, slot_value
from tupli.spool import control
from tupli.spool.control import Kind, Seal
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.spaces import structure_of_value


def test_control_records_come_back_in_order() -> None:
    raw = b"".join(
        control.encode(
            kind, slot=i, episode=i + 1, row=10 * i, time=i, flags=i, payload=control.payload_of(n=i)
        )
        for i, kind in enumerate((Kind.START, Kind.END, Kind.AMEND))
    )
    records = list(control.decode(memoryview(raw), 0, len(raw)))
    assert [(r.kind, r.slot, r.episode, r.row, r.time, r.flags, r.payload) for r in records] == [
        (Kind.START, 0, 1, 0, 0, 0, {"n": 0}),
        (Kind.END, 1, 2, 10, 1, 1, {"n": 1}),
        (Kind.AMEND, 2, 3, 20, 2, 2, {"n": 2}),
    ]
    assert records[-1].at + records[-1].size == len(raw)


@pytest.mark.parametrize("digest", ["", "ab" * 16])
def test_a_seal_is_written_once_and_read_again(digest: str) -> None:
    raw = control.encode(Kind.END, slot=0, episode=1, row=0, time=0, flags=0, payload=b"{}")
    view = memoryview(bytearray(raw))
    (record,) = control.decode(view, 0, len(raw))
    assert control.read_seal(view, record.seal) is None
    control.write_seal(view, record.seal, Seal(5, float("inf"), digest))
    assert control.read_seal(view, record.seal) == Seal(5, float("inf"), digest)


def test_infos_count_only_where_their_mask_is_true() -> None:
    infos = {
        "a": np.array([1.0, 0.0]),
        "_a": np.array([True, False]),
        "deep": {"b": np.array(["x", None], object), "_b": np.array([True, False])},
        "_deep": np.array([True, False]),
        "final_obs": np.array([None, None], object),
    }
    assert slot_info(infos, 0, 2) == {"a": 1.0, "deep": {"b": "x"}}
    assert slot_info(infos, 1, 2) == {}


def test_the_statistics_of_an_ended_episode_stand_beside_its_final_info() -> None:
    infos = {
        "final_info": {"x": np.array([0, 7]), "_x": np.array([False, True])},
        "episode": {"r": np.array([0.0, 5.0]), "_r": np.array([False, True])},
        "_episode": np.array([False, True]),
        "x": np.array([1, 2]),
        "_x": np.array([True, True]),
    }
    assert final_info(infos, 1, 2) == {"x": 7, "episode": {"r": 5.0}}


def test_batches_of_nested_spaces() -> None:
    space = {"type": "Dict", "spaces": [["x", {"type": "Box"}], ["t", {"type": "Text"}]]}
    batch = {"x": np.arange(6.0).reshape(2, 3), "t": ("a", "b")}
    assert slot_value(space, batch, 1)["t"] == "b"
    structure = structure_of_value({"x": np.zeros(3), "t": "a"})
    leaves = batch_leaves(structure, batch, 2)
    assert leaves[0].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert leaves[1] == [b"a", b"b"]
    with pytest.raises(SchemaMismatch):
        batch_leaves(structure, batch | {"x": np.zeros((2, 4))}, 2)
