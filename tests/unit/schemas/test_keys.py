"""Keys: the words of each level, and what they name in a step schema."""

import pytest

from tupli_schemas.errors import FilterError
from tupli_schemas.filters import F
from tupli_schemas.keys import Level, UnknownKey, bare_metadata_key, find_element, parse_key
from tupli_schemas.steps import Cell, Leaf, StepSchema

SCHEMA = StepSchema(
    observation=(
        Leaf(".position", Cell("f4", (3,))),
        Leaf(".position.deep", Cell("f8")),
        Leaf(".image", Cell("u1", (2, 4))),
        Leaf("[0].x", Cell("i8")),
        Leaf("[1]", Cell("i8", (5,))),
        Leaf(".a%2Eb", Cell("i8")),
    ),
    action=(Leaf("", Cell("f4", (6,))),),
    extra=(Leaf(".logprob", Cell("f4")),),
)


@pytest.mark.parametrize(
    ("level", "text", "root", "rest"),
    [
        (Level.BENCHMARK, "name", "name", ""),
        (Level.BENCHMARK, "metadata.name", "name", ""),
        (Level.BENCHMARK, "metadata.extra.a.b", "extra", "a.b"),
        (Level.BENCHMARK, "extra.100%", "extra", "100%25"),
        (Level.EPISODE, "return", "return", ""),
        (Level.EPISODE, "timeout", "truncated", ""),
        (Level.EPISODE, "metadata.a.b", "metadata", "a.b"),
        (Level.EPISODE, "metadata.a%2Eb", "metadata", "a%2Eb"),
        (Level.EPISODE, "month", "metadata", "month"),
        (Level.EPISODE, "a.b", "metadata", "a.b"),
        (Level.TUPLE, "reward", "reward", ""),
        (Level.TUPLE, "terminal", "terminated", ""),
        (Level.TUPLE, "timeout", "truncated", ""),
        (Level.TUPLE, "state[0]", "observation", "[0]"),
        (Level.TUPLE, "next_observation.x[0]", "next_observation", ".x[0]"),
        (Level.TUPLE, "info.a[0]", "info", "a[0]"),
        (Level.TUPLE, "extra.logprob", "extra", ".logprob"),
        (Level.TUPLE, "episode.timeout", "episode", "timeout"),
        (Level.TUPLE, "episode.month", "episode", "month"),
    ],
)
def test_keys_and_synonyms(level: Level, text: str, root: str, rest: str) -> None:
    key = parse_key(text, level, metadata_keys={"month", "a.b"})
    assert (key.root, key.rest, key.text) == (root, rest, text)


@pytest.mark.parametrize(
    ("level", "text", "named"),
    [
        (Level.BENCHMARK, "reward", "difficulty"),
        (Level.BENCHMARK, "extra", "extra.<path>"),
        (Level.EPISODE, "reward", "n_tuples"),
        (Level.EPISODE, "metadata", "metadata.<path>"),
        (Level.EPISODE, "name", "month"),
        (Level.TUPLE, "rewards", "next_observation"),
        (Level.TUPLE, "", "reward"),
        (Level.TUPLE, "episode.nothing", "month"),
    ],
)
def test_unknown_keys_list_the_known_ones(level: Level, text: str, named: str) -> None:
    with pytest.raises(UnknownKey, match="known") as caught:
        parse_key(text, level, metadata_keys={"month"}, place="f.key")
    assert named in str(caught.value)
    assert caught.value.place == "f.key"
    assert any(named in key for key in caught.value.known)


def test_known_keys_are_listed_as_they_are_written() -> None:
    paths = {"month", "odd%2Ekey", "a.b%2Ec", "100%25", "return", "tick`%2E"}
    with pytest.raises(UnknownKey) as caught:
        parse_key("nope", Level.EPISODE, metadata_keys=paths)
    listed = str(caught.value).partition("metadata of these episodes: ")[2].split(", ")
    assert set(listed) == {
        "month", "metadata.`odd.key`", "metadata.a.`b.c`", "metadata.`100%`", "metadata.return", "tick`%2E",
    }  # fmt: skip
    for written in listed:
        key = parse_key(F(written).key, Level.EPISODE, metadata_keys=paths)
        assert (key.root, key.rest in paths) == ("metadata", True)
    with pytest.raises(UnknownKey, match=r"observation\.`a\.b`") as unknown:
        find_element(parse_key("observation.nope", Level.TUPLE), SCHEMA)
    assert "observation[0].x" in unknown.value.known
    with pytest.raises(UnknownKey, match=r"'observation\.`a\.c`\[0\]' is no key"):
        find_element(parse_key("observation.a%2Ec[0]", Level.TUPLE), SCHEMA)
    with pytest.raises(FilterError, match=r"observation\.`a\.b`\[7\] .*observation\.`a\.b` has shape"):
        find_element(parse_key("observation.a%2Eb[7]", Level.TUPLE), SCHEMA)


@pytest.mark.parametrize("text", ["info", "extra", "episode", "info.", "reward[0]", "step.x"])
def test_keys_that_name_nothing_in_particular(text: str) -> None:
    with pytest.raises(FilterError):
        parse_key(text, Level.TUPLE)


@pytest.mark.parametrize(
    ("text", "index", "flat"),
    [
        ("observation.position[2]", 0, 2),
        ("observation.position.deep", 1, None),
        ("observation.image[1,2]", 2, 6),
        ("observation.image[1][2]", 2, 6),
        ("next_observation.image[ 1 , 2 ]", 2, 6),
        ("observation[0].x", 3, None),
        ("observation[1][4]", 4, 4),
        ("observation.a%2Eb", 5, None),
        ("observation.position", 0, None),
        ("action[5]", 0, 5),
        ("extra.logprob", 0, None),
    ],
)
def test_elements(text: str, index: int, flat: int | None) -> None:
    element = find_element(parse_key(text, Level.TUPLE), SCHEMA)
    assert (element.index, element.flat) == (index, flat)
    assert element.is_whole_array == (flat is None and bool(element.leaf.cell.shape))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("action[6]", r"index 6 is out of range; action has shape \[6\]"),
        ("action[-1]", r"from 0.*shape \[6\]"),
        ("action[a]", r"from 0.*shape \[6\]"),
        ("action[]", "from 0"),
        ("action[1,2]", r"names 2 indices; action has shape \[6\]"),
        ("observation.image[1]", r"takes 2 indices"),
        ("observation.image[1][4]", r"index 4 is out of range.*\[2, 4\]"),
        ("extra.logprob[0]", "a single value"),
        ("observation.velocity", r"known: observation.position, observation.position.deep"),
        ("observation", "known"),
        ("observation.positionx", "known"),
        ("observation.position[0].x", "known"),
        ("action[99999999999999999999]", "from 0"),
    ],
)
def test_wrong_elements_state_the_shape(text: str, words: str) -> None:
    with pytest.raises(FilterError, match=words) as caught:
        find_element(parse_key(text, Level.TUPLE), SCHEMA, place="f.key")
    assert caught.value.place == "f.key"


@pytest.mark.parametrize(
    ("level", "text", "path"),
    [
        (Level.EPISODE, "month", "month"),
        (Level.EPISODE, "return", None),
        (Level.EPISODE, "metadata.month", None),
        (Level.TUPLE, "episode.month", "month"),
        (Level.TUPLE, "episode.return", None),
        (Level.TUPLE, "reward", None),
        (Level.BENCHMARK, "month", None),
    ],
)
def test_which_keys_need_the_metadata_to_be_asked(level: Level, text: str, path: str | None) -> None:
    assert bare_metadata_key(text, level) == path
