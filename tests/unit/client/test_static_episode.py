"""Static data becomes the same events as a live recording."""

import numpy as np
import pytest

from tupli.errors import InvalidInput
from tupli.models import Episode, RLTuple
from tupli.storage.static import static_episode
from tupli_schemas.digest import EpisodeDigest
from tupli_schemas.events import BenchmarkRef, EpisodeEnded, EpisodeStarted, StepsRecorded, decode_event
from tupli_schemas.framing import decode_frames
from tupli_schemas.ids import make_id
from tupli_schemas.steps import from_cells

STREAM, BENCHMARK = make_id(5, 6), BenchmarkRef(make_id(1, 1), "bench")


def _arrays(steps: int, *, final: bool = True) -> Episode:
    rng = np.random.default_rng(0)
    return Episode.from_arrays(
        benchmark_id="b",
        observations=rng.standard_normal((steps + final, 3)).astype(np.float32),
        actions=rng.integers(0, 4, steps),
        rewards=rng.standard_normal(steps),
        terminated=False,
        truncated=True,
        metadata={"month": "June"},
    )


@pytest.mark.parametrize("final", [True, False])
def test_arrays_become_numbered_events(*, final: bool) -> None:
    episode = _arrays(12_000, final=final)
    made = static_episode(episode, BENCHMARK, STREAM, 9)
    events = [decode_event(f.payload) for body in made.requests() for f in decode_frames(body)]
    started, *steps, ended = events
    assert isinstance(started, EpisodeStarted)
    assert isinstance(ended, EpisodeEnded)
    numbers = [number for event in events for number in range(event.first, event.last + 1)]
    assert numbers == list(range(1, 12_000 + final + 3))
    assert (ended.n_steps, ended.has_final, ended.truncated, ended.terminated) == (12_000, final, True, False)
    digest = EpisodeDigest(started.step_schema.layout)
    observed = []
    for event in steps:
        assert isinstance(event, StepsRecorded)
        digest.update(event.rows())
        observed.append(from_cells(event.rows().column("o0"), started.step_schema.observation[0].cell))
    assert digest.hexdigest() == ended.digest
    assert len(steps) > 1
    states = [item.state for item in episode.tuples] + ([episode.final_observation] if final else [])
    np.testing.assert_array_equal(np.concatenate(observed), np.array(states))


def test_tuples_of_mixed_numbers_get_their_common_type() -> None:
    tuples = [RLTuple([0, 1], 1, 1.0), RLTuple([0.5, 2], 2, 0.5, terminal=True)]
    made = static_episode(Episode("b", tuples=tuples), BENCHMARK, STREAM, 9)
    started, steps, ended = made.events
    assert isinstance(started, EpisodeStarted)
    assert isinstance(steps, StepsRecorded)
    assert isinstance(ended, EpisodeEnded)
    assert ended.return_ == 1.5
    assert not ended.has_final
    assert steps.rows().num_rows == 2


def test_what_cannot_be_an_episode_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        static_episode(Episode("b"), BENCHMARK, STREAM, 9)
    glued = Episode("b", tuples=[RLTuple([0.0], 0, 0.0, terminal=True), RLTuple([0.0], 0, 0.0)])
    with pytest.raises(InvalidInput, match=r"tuples\[0\]"):
        static_episode(glued, BENCHMARK, STREAM, 9)
    with pytest.raises(InvalidInput, match="observations"):
        Episode.from_arrays(
            benchmark_id="b", observations=np.zeros((5, 2)), actions=np.zeros(3), rewards=np.zeros(3), terminated=False,
            truncated=False,
        )  # fmt: skip
