"""Which step schemas are the same for a reader, and what is told of those that are not."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from tupli_query.core.joined_schemas import joined
from tupli_query.core.refusals import Refused
from tupli_query.core.schemas_of import SchemaGroup, choose, mixed_schemas, schema_groups, schema_id
from tupli_schemas.spaces import step_schema_of, structure_of_value
from tupli_schemas.steps import StepSchema


def _schema(observation: Any, action: Any = 1, **extra: Any) -> StepSchema:
    extras = {name: structure_of_value(value) for name, value in extra.items()}
    return step_schema_of(structure_of_value(observation), structure_of_value(action), extras)


def _text(schema: StepSchema) -> str:
    return orjson.dumps(schema.to_json()).decode()


def _row(schema: StepSchema, episodes: int) -> dict[str, Any]:
    return {"step_schema": _text(schema).encode(), "episodes": episodes, "tuples": 10 * episodes}


PLAIN = _schema(np.zeros(3, "f4"))
ONE = np.float32(1)
PLAIN_NODE = structure_of_value(1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, replace(PLAIN, reward_dtype="int64")),
        (PLAIN, replace(PLAIN, observation_space={"type": "Box"}, action_space={"type": "Discrete"})),
        (PLAIN, _schema(np.zeros(3, "f4"), np.int64(1))),
        (PLAIN, _schema(np.zeros(3, "f4"), np.array(1))),
        (_schema((ONE, {"a": 1})), _schema([ONE, {"a": np.int64(1)}])),
    ],
)
def test_what_makes_no_difference_in_arrays(one: StepSchema, other: StepSchema) -> None:
    assert schema_id(_text(one)) == schema_id(_text(other))
    (group,) = schema_groups([_row(one, 1), _row(other, 2)])
    assert (group.episodes, group.tuples) == (3, 30)
    assert group.holds(_row(one, 1))
    assert group.holds(_row(other, 1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, _schema(np.zeros(3, "f8"))),
        (PLAIN, _schema(np.zeros((3, 1), "f4"))),
        (PLAIN, _schema({"position": np.zeros(3, "f4")})),
        (PLAIN, _schema(np.zeros(3, "f4"), speed=1.0)),
        (_schema(np.zeros(3, "f2")), _schema(np.zeros(3, "c8"))),
        (_schema({}), _schema(())),
    ],
)
def test_what_makes_a_difference(one: StepSchema, other: StepSchema) -> None:
    assert schema_id(_text(one)) != schema_id(_text(other))


@pytest.mark.parametrize("structure", [{"kind": "dict", "items": [1]}, {"items": None}, [[]], "text"])
def test_a_structure_that_is_none_still_has_an_identity(structure: Any) -> None:
    broken = replace(PLAIN, observation_structure=structure)
    assert schema_id(_text(broken)) != schema_id(_text(PLAIN))


def test_a_conflict_names_the_leaves_that_differ() -> None:
    rows = [
        _row(PLAIN, 3),
        _row(_schema(np.zeros(3, "f4"), speed=1.0), 2),
        _row(_schema(np.zeros(3, "f2")), 1),
    ]
    groups = schema_groups(rows)
    ids = [group.id for group in groups]
    with pytest.raises(Refused, match="3 step schemas") as caught:
        choose(groups, None)
    assert str(caught.value).endswith(
        "choose one with with_step_schema(id): "
        f"{ids[0]} (3 episodes) has observation f4[3]; "
        f"{ids[1]} (2 episodes) has observation f4[3], extra.speed f8[]; "
        f"{ids[2]} (1 episodes) has observation <f2[3]"
    )
    with pytest.raises(Refused, match=r"has nothing more; .* has extra\.speed"):
        raise mixed_schemas(groups[:2])
    with pytest.raises(Refused, match="the same leaves in other dicts"):
        choose(schema_groups([_row(_schema({}), 1), _row(_schema(()), 1)]), None)


def _groups(*schemas: StepSchema) -> list[SchemaGroup]:
    return schema_groups([_row(schema, 9 - i) for i, schema in enumerate(schemas)])


def test_schemas_that_differ_in_extra_facts_are_one_dataset() -> None:
    one, two = (
        _schema(np.zeros(3, "f4"), speed=1.0, at=(1, "a")),
        _schema(np.zeros(3, "f4"), speed=1.0, zeal=1),
    )
    groups = choose(_groups(PLAIN, one, two), None)
    assert len(groups) == 3
    found = joined(groups, with_extra=True)
    assert [leaf.path for leaf in found.schema.extra] == [".at[0]", ".at[1]", ".speed", ".zeal"]
    columns = [found.extra_columns(group) for group in groups]
    assert columns == [[None] * 4, [1, 2, 0, None], [None, None, 0, 1]]
    assert (found.episodes, found.tuples, found.is_joined) == (24, 240, True)
    assert found.group_of(_text(one)) is groups[1]
    assert found.others(groups[1]) == (groups[0].schema, groups[2].schema)
    assert joined(groups, with_extra=False).schema.extra == ()
    assert joined(groups[1:2], with_extra=False).schema.extra == one.extra


@pytest.mark.parametrize("other", [1, np.float32(1), (1.0,), "fast"])
def test_an_extra_fact_of_two_types_is_refused(other: Any) -> None:
    groups = choose(_groups(_schema(1.0, speed=1.0), _schema(1.0, speed=other), _schema(1.0)), None)
    with pytest.raises(Refused, match=r"extra\.speed has two types"):
        joined(groups, with_extra=True)
    assert joined(groups, with_extra=False).episodes == 24


def test_extra_facts_without_a_structure_go_by_their_paths() -> None:
    bare = [
        replace(_schema(1.0, **facts), extra_structure=None) for facts in ({"b": 1.0}, {"a": 1, "b": 1.0})
    ]
    found = joined(choose(_groups(*bare), None), with_extra=True)
    assert [leaf.path for leaf in found.schema.extra] == [".a", ".b"]
    clash = replace(_schema(1.0, b=1), extra_structure=None)
    with pytest.raises(Refused, match=r"extra\.b has two types"):
        joined(choose(_groups(*bare, clash), None), with_extra=True)
    for structure in (None, {"kind": "dict"}, {"kind": "dict", "items": [["b", {"kind": "no"}]]}):
        odd = replace(_schema(1.0, b=2.0, c=1), extra_structure=structure)
        with pytest.raises(Refused, match="structure"):
            joined(choose(_groups(_schema(1.0, a=1), odd), None), with_extra=True)


def test_names_with_dots_are_told_in_backquotes() -> None:
    groups = _groups(_schema({"n.x": 1.0}), _schema({"n.x": 1}))
    with pytest.raises(Refused, match=r"has observation\.`n\.x` f8\[\]; .* has observation\.`n\.x` i8\[\]"):
        choose(groups, None)
    facts: list[dict[str, Any]] = [{"log.prob": 1.0}, {"log.prob": 1}]
    extras = [
        step_schema_of(PLAIN_NODE, PLAIN_NODE, {k: structure_of_value(v) for k, v in f.items()})
        for f in facts
    ]
    for schemas in (extras, [replace(schema, extra_structure=None) for schema in extras]):
        with pytest.raises(Refused, match=r"extra\.`log\.prob` has two types"):
            joined(choose(_groups(*schemas), None), with_extra=True)
