"""A recorded single environment is, element by element, what a plain loop collects."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from support.loop_oracle import assert_same, collect, recorded_runs
from tupli.recording import record
from tupli.transport import FakeTransport


class DictEnv(gymnasium.Env[Any, Any]):
    """Dict observation with an image, a Discrete, a Text and a Sequence; Tuple action; ends after 7 steps."""

    def __init__(self) -> None:
        s = gymnasium.spaces
        self.observation_space = s.Dict(
            image=s.Box(0, 255, (6, 5, 3), np.uint8),
            inner=s.Dict(mode=s.Discrete(4, start=-1), half=s.Box(-1, 1, (2,), np.float16)),
            text=s.Text(8),
            items=s.Sequence(s.Box(0, 1, (2,))),
        )
        self.action_space = s.Tuple((s.Discrete(3), s.Box(-1, 1, (2,), np.float64)))
        self.count = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.count = 0
        return self.observation_space.sample(), {"start": np.float32(0.5)}

    def step(self, action: Any) -> Any:
        self.count += 1
        info = {"TimeLimit.truncated": False, "n": self.count, "nested": {"x": np.arange(3)}, "none": None}
        return self.observation_space.sample(), float(action[1][0]), False, self.count == 7, info


ENVIRONMENTS = {
    "cartpole": lambda: gymnasium.make("CartPole-v1"),
    "pendulum": lambda: gymnasium.make("Pendulum-v1", max_episode_steps=30),
    "dict": DictEnv,
}


@pytest.mark.parametrize("name", list(ENVIRONMENTS))
def test_same_as_a_plain_loop(name: str, tmp_path: Path) -> None:
    make = ENVIRONMENTS[name]
    transport = FakeTransport()
    samples = make().action_space
    samples.seed(3)
    actions = [samples.sample() for _ in range(300)]
    env = record(make(), name, transport=transport, spool_dir=tmp_path)
    seen = collect(env, lambda i: actions[i], 300, seed=11)
    env.close()
    plain = collect(make(), lambda i: actions[i], 300, seed=11)
    runs = recorded_runs(transport.events)
    assert len(runs) == len(plain) == len(seen)
    for recorded, other, own in zip(runs, plain, seen, strict=True):
        assert_same(recorded, other)
        assert_same(recorded, own)
        assert recorded.end is not None
        assert recorded.end.return_ == float(np.add.accumulate(other.rewards)[-1])
    assert not list(tmp_path.glob("*/*"))
