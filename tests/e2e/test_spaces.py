"""Values of every space come back as the environment gave them: live, single and vector, through a real server."""

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

import tupli
from support.sameness import same
from support.scripted import PhaseSpace, Scripted
from support.server_process import ServerProcess
from tupli.datasets.reading import EpisodeData

SLOTS = 2
STEPS = 3


def nan_with_payload() -> Any:
    return np.frombuffer(struct.pack("<I", 0x7FC01234), np.float32)[0]


def box(values: Sequence[Any], dtype: str) -> tuple[gym.Space[Any], list[Any]]:
    """A box of this dtype, and its samples."""
    samples = [np.array(value, dtype) for value in values]
    low, high = (0, 1) if dtype == "bool" else (-1, 1)
    if dtype[-2] == "u":
        low = 0
    return spaces.Box(low, high, samples[0].shape, np.dtype(dtype)), samples


def seeded(space: gym.Space[Any]) -> tuple[gym.Space[Any], list[Any]]:
    """A space, and four samples of it."""
    space.seed(5)
    return space, [space.sample() for _ in range(STEPS + 1)]


NESTED = spaces.Dict(
    {
        "z": spaces.Tuple((spaces.Discrete(5, start=-3), spaces.Dict({"é.b": spaces.Box(-1, 1, (2, 1))}))),
        "a": spaces.Dict({"seq": spaces.Sequence(spaces.Discrete(3)), "$t": spaces.Text(5)}),
        "one": spaces.OneOf((spaces.Discrete(2), spaces.Text(3))),
        "small": spaces.Discrete(9, start=-3, dtype=np.int16),
    }
)
GRAPH = spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(4))
PLAIN_GRAPH = spaces.Graph(spaces.Discrete(7), None)
STACKED = spaces.Sequence(spaces.Dict(x=spaces.Box(-1, 1, (2,)), n=spaces.Discrete(3)), stack=True)
MULTI: Any = spaces.MultiDiscrete(np.array([[3, 4], [5, 6]]), np.int8, start=np.array([[-2, 0], [1, 9]]))
F4 = [nan_with_payload(), np.inf, -np.inf, -0.0]

WITHOUT_SPACES: dict[str, list[Any]] = {
    "list": [[1.5, None, "x"], [2.5, None, "y"]],
    "list in a dict": [{"l": ["a", "b"]}, {"l": ["c", "é"]}],
    "tuple of lists": [(["a", "b"], 1), (["c", "d"], 2)],
}


CASES: dict[str, tuple[gym.Space[Any], list[Any]]] = {
    "float16": box([[np.inf, 1e-7], [0.1, -0.0], [65504, 1], [np.nan, 2]], "<f2"),
    "float32": box([[value, 1.5] for value in F4], "<f4"),
    "float64": box([[[0.1], [np.nan]], [[1], [2]], [[5e-324], [1e308]], [[0], [-0.0]]], "<f8"),
    "int8": box([[-128, 127], [0, 1], [-1, 5], [7, 7]], "|i1"),
    "int64": box([-(2**63), 2**63 - 1, 2**53 + 1, 0], "<i8"),
    "uint64": box([[2**64 - 1], [2**63], [2**53 + 1], [0]], "<u8"),
    "bool": box([[True, False], [False, False], [True, True], [False, True]], "bool"),
    "big-endian float": box([[0.1, 2], [3, np.nan], [-1, 1], [5, 6]], ">f4"),
    "big-endian integer": box([[1, -2], [300, 4], [5, 6], [-32768, 8]], ">i2"),
    "without dimensions": box([0.5, np.nan, -1, 3], "<f4"),
    "zero length": box([np.zeros(0)] * 4, "<f4"),
    "zero length of three dimensions": box([np.zeros((2, 0, 3))] * 4, "<i4"),
    "image": seeded(spaces.Box(0, 255, (5, 4, 3), np.uint8)),
    "discrete": seeded(spaces.Discrete(5, start=-3)),
    "discrete int16": seeded(spaces.Discrete(5, start=-3, dtype=np.int16)),
    "python integers": (spaces.Discrete(100), [1, 2, 99, 0]),
    "multi-discrete": seeded(MULTI),
    "multi-binary": seeded(spaces.MultiBinary(3)),
    "multi-binary of two dimensions": seeded(spaces.MultiBinary([2, 3])),
    "text": (spaces.Text(9), ["", "é\U0001f642e\u0301", "\x00\n", "a'b\\\"%"]),
    "sequence": seeded(spaces.Sequence(spaces.Box(-1, 1, (2,), np.float32))),
    "sequence of numbers": (
        spaces.Sequence(spaces.Discrete(3)),
        [(), (np.int64(2),), (np.int64(1),) * 3, ()],
    ),
    "sequence of texts": (spaces.Sequence(spaces.Text(3)), [(), ("",), ("ü", "b"), ("a",) * 9]),
    "stacked sequence": seeded(STACKED),
    "stacked sequence of arrays": seeded(spaces.Sequence(spaces.Box(-1, 1, (2,), np.float32), stack=True)),
    "graph": seeded(GRAPH),
    "graph without edges": seeded(PLAIN_GRAPH),
    "one of": seeded(spaces.OneOf((spaces.Discrete(3), spaces.Box(-1, 1, (2,)), spaces.Text(4)))),
    "nested": seeded(NESTED),
    "empty dict": (spaces.Dict({}), [{}] * 4),
    "empty tuple": (spaces.Tuple(()), [()] * 4),
    "complex": (PhaseSpace(), [np.array([1j, np.nan, v], np.complex64) for v in (0, 1, -0.0, np.inf)]),
}

ALL = [
    (kind, form)
    for kind in CASES
    for form in ("single", "vector")
    if not ("empty" in kind and form == "vector")
]
"""Gymnasium's vectors cannot take actions without members apart."""


def of_slot(samples: list[Any], slot: int) -> list[Any]:
    """The samples of a slot's episode: those of the other, in another order."""
    return samples if slot == 0 else samples[::-1]


def make(kind: str, slot: int) -> Scripted:
    space, samples = CASES[kind]
    return Scripted(space, of_slot(samples, slot))


def name_of(kind: str, form: str) -> str:
    return f"{form}-{list(CASES).index(kind)}"


def record_single(kind: str, storage: tupli.TupliAPIClient) -> Any:
    env = tupli.TupliEnvWrapper(make(kind, 0), storage=storage)
    env.store(name_of(kind, "single"))
    env.reset()
    for action in CASES[kind][1][:-1]:
        env.step(action)
    return env


def record_vector(kind: str, storage: tupli.TupliAPIClient) -> Any:
    mode = gym.vector.AutoresetMode.NEXT_STEP
    envs = gym.vector.SyncVectorEnv([partial(make, kind, slot) for slot in range(SLOTS)], autoreset_mode=mode)
    wrapped = tupli.TupliVectorEnvWrapper(envs, storage=storage)
    wrapped.store(name_of(kind, "vector"))
    wrapped.reset()
    space, samples = CASES[kind]
    for step in range(STEPS):
        empty: Any = create_empty_array(space, SLOTS)
        actions = [of_slot(samples, slot)[step] for slot in range(SLOTS)]
        wrapped.step(concatenate(space, actions, empty))
    return wrapped


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tupli.TupliAPIClient]:
    """A server that all cases have been recorded into."""
    folder: Path = tmp_path_factory.mktemp("spaces")
    with ServerProcess(folder / "data") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUPLI_SPOOL_DIR", str(folder / "spool"))
        storage = tupli.TupliAPIClient(server.url)
        make_of = {"single": record_single, "vector": record_vector}
        recorded = [make_of[form](kind, storage) for kind, form in ALL]
        for env in recorded:
            env.close()
        yield storage
        storage.close()


def row(batch: Any, index: int) -> Any:
    if type(batch) is dict:
        return {key: row(member, index) for key, member in batch.items()}
    if type(batch) in (tuple, list):
        return type(batch)(row(member, index) for member in batch)
    return batch[index]


def check(ours: Any, theirs: Any, space: gym.Space[Any]) -> None:
    """Equal in type, dtype with its byte order, shape and bits; a row of an array of numbers is the number."""
    if isinstance(space, spaces.Dict):
        assert type(ours) is dict
        assert list(ours) == list(theirs) == list(space.spaces)
        for key, inner in space.spaces.items():
            check(ours[key], theirs[key], inner)
    elif isinstance(space, spaces.Tuple):
        assert type(ours) is tuple
        for mine, other, inner in zip(ours, theirs, space.spaces, strict=True):
            check(mine, other, inner)
    elif isinstance(space, spaces.Sequence | spaces.OneOf | spaces.Graph | PhaseSpace | spaces.Text):
        assert type(ours) is type(theirs)
        assert same(ours, theirs), (ours, theirs)
    else:
        mine, other = np.asarray(ours), np.asarray(theirs)
        assert (mine.dtype.str, mine.shape) == (other.dtype.str, other.shape)
        assert mine.tobytes() == other.tobytes()


def check_episode(episode: EpisodeData, kind: str) -> None:
    space, samples = CASES[kind]
    expected = of_slot(samples, episode.header.slot)
    assert (episode.header.status, len(episode)) == ("terminated", STEPS)
    for step in range(STEPS + 1):
        check(row(episode.observations, step), expected[step], space)
    for step in range(STEPS):
        check(row(episode.actions, step), expected[step], space)


@pytest.mark.parametrize(("kind", "form"), ALL)
def test_values_of_a_space_come_back_equal(kind: str, form: str, storage: tupli.TupliAPIClient) -> None:
    dataset = tupli.dataset(name_of(kind, form), storage=storage)
    episodes = list(dataset.iter_episodes())
    assert [episode.header.slot for episode in episodes] == list(range(1 if form == "single" else SLOTS))
    for episode in episodes:
        check_episode(episode, kind)


@pytest.mark.parametrize("kind", CASES)
def test_a_table_has_each_observation_beside_the_next(kind: str, storage: tupli.TupliAPIClient) -> None:
    form = "single" if "empty" in kind else "vector"
    table = tupli.dataset(name_of(kind, form), storage=storage).to_numpy()
    assert len(table["reward"]) == STEPS * (1 if form == "single" else SLOTS)
    space, samples = CASES[kind]
    for at, (number, step) in enumerate(zip(table["episode"], table["step"], strict=True)):
        expected = of_slot(samples, int(number))
        check(row(table["observation"], at), expected[step], space)
        check(row(table["next_observation"], at), expected[step + 1], space)


@pytest.mark.parametrize("kind", list(WITHOUT_SPACES))
def test_lists_without_a_space_come_back_as_lists(
    kind: str, storage: tupli.TupliAPIClient, tmp_path: Path
) -> None:
    values, name = WITHOUT_SPACES[kind], f"no-space-{kind.replace(' ', '-')}"
    with tupli.Recorder(name, url=storage.address, spool_dir=tmp_path) as rec:
        rec.start(values[0])
        rec.step(1, values[1], 1.0, True, False)
    dataset = tupli.dataset(name, storage=storage).load()
    (one,) = dataset.tuples
    assert plain(one.state) == values[0]
    (episode,) = dataset.iter_episodes()
    kept = dataset.to_numpy(["observation", "next_observation"])
    assert type(kept["observation"]) is type(episode.observations) is type(values[0])
    assert [plain(row(episode.observations, step)) for step in range(2)] == values
    assert type(dataset.convert_to_tensors()[0]) in (tuple, dict)  # of arrays: a list would be taken for one


def plain(value: Any) -> Any:
    """Scalars as Python's, in the dicts, tuples and lists that they stand in."""
    if type(value) is dict:
        return {key: plain(member) for key, member in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value
