"""`record` and `Recorder`: recordings in one line, and for loops without Gymnasium."""

import os
import secrets
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import gymnasium

from tupli.errors import AuthError, Conflict, InvalidInput, TransportError, TupliError
from tupli.names import checked_name, scopes_of
from tupli.recording.config import OnFull, RecordingConfig
from tupli.recording.describe import versions_of
from tupli.recording.lifetime import drain, watch
from tupli.recording.single import SingleStream
from tupli.recording.vector_wrapper import TupliVectorEnvWrapper
from tupli.recording.wrapper import TupliEnvWrapper, describe_into
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import BenchmarkState, new_benchmark
from tupli.transport.base import Transport
from tupli.transport.chosen import GrantPath, chosen_transport, require_granted
from tupli.transport.kafka_address import is_kafka
from tupli_schemas.catalog import CreateBenchmark
from tupli_schemas.ids import make_id, parse_id

FIRST_ANSWER_SECONDS: Final = 1.0
"""How long a recording waits for the server's word on its benchmark before it goes on without."""


def record(  # noqa: PLR0913 -- options of the public interface, all but two by keyword
    env: Any,
    benchmark: str,
    *,
    url: str | None = None,
    policy: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    publish_in: str | Sequence[str] | None = None,
    info: Sequence[str] | None = None,
    on_full: OnFull = "abort",
    autoreset: str | None = None,
    drain_timeout: float = 30.0,
    spool_dir: str | os.PathLike[str] | None = None,
    transport: Transport | str | None = None,
    grant: GrantPath | None = None,
) -> Any:
    """The environment with recording around it; a vector environment gives a vector environment.

    The benchmark is created from the environment when the caller has none of that name. The server may be
    down: the spool carries everything until it is there.

    Args:
        env: A Gymnasium environment, or a vector of them.
        benchmark: Name of a benchmark of the caller's, or an id.
        url: Address of the server; `TUPLI_URL`, else the local one.
        policy: Name of the behaviour policy.
        metadata: Of every episode.
        publish_in: Scope, or scopes, in which episodes are visible to others.
        info: The only members of infos to keep; all when left out.
        on_full: What to do when the spool is full: `abort` the recording, or `block` the environment.
        autoreset: Mode of a vector environment that does not say it (`next_step`, `same_step`, `disabled`).
        drain_timeout: Seconds that `close` waits until everything is visible.
        spool_dir: Directory of the spool; `TUPLI_SPOOL_DIR`, else in the user's state directory.
        transport: Another way to the server than HTTP: `kafka://host:port[,host:port][?topic_prefix=...]` goes
            straight to Kafka, from inside the cluster. The benchmark must exist then, and goes by its id.
        grant: File of the recording grant for that, `TUPLI_GRANT` when left out.

    Raises:
        InvalidInput: An argument cannot mean anything, or the server refuses the benchmark.
        Conflict: A benchmark of this name has other spaces.
    """
    config = _config(
        benchmark,
        (transport, url, grant),
        spool_dir,
        on_full=on_full,
        drain_timeout=drain_timeout,
        policy=policy,
    )
    config.metadata = dict(metadata or {})
    config.publish_in = scopes_of(publish_in)
    config.info_keys = None if info is None else tuple(info)
    normalising = describe_into(config, env)
    _name_benchmark(config, config.environment)
    wrapped: Any
    if isinstance(env, gymnasium.vector.VectorEnv):
        wrapped = TupliVectorEnvWrapper(env, config=config, autoreset=autoreset)
    elif autoreset is not None:
        raise InvalidInput("only vector environments have a mode of autoreset", place="autoreset")
    else:
        wrapped = TupliEnvWrapper(env, config=config)
    if normalising:
        wrapped.warn_of_normalising(normalising)
    return wrapped


class Recorder:
    """Records a loop that has no Gymnasium environment; see `record` for the arguments.

    Call `start` with the first observation, `step` after each step, `end` when the loop stops before the
    environment did. Nothing but `SpoolFull` at `close` is raised once it is made.
    """

    def __init__(  # noqa: PLR0913 -- as `record`
        self,
        benchmark: str,
        *,
        url: str | None = None,
        policy: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        publish_in: str | Sequence[str] | None = None,
        info: Sequence[str] | None = None,
        on_full: OnFull = "abort",
        drain_timeout: float = 30.0,
        spool_dir: str | os.PathLike[str] | None = None,
        transport: Transport | str | None = None,
        grant: GrantPath | None = None,
    ) -> None:
        config = _config(
            benchmark,
            (transport, url, grant),
            spool_dir,
            on_full=on_full,
            drain_timeout=drain_timeout,
            policy=policy,
        )
        config.metadata = dict(metadata or {})
        config.publish_in = scopes_of(publish_in)
        config.info_keys = None if info is None else tuple(info)
        config.versions = versions_of(None)
        _name_benchmark(config, {})
        self._stream = SingleStream(config)
        watch(self, self._stream)

    def start(
        self,
        observation: Any,
        info: Mapping[str, Any] | None = None,
        *,
        seed: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """An episode begins on this observation; one that was open is aborted."""
        self._stream.reset(observation, info or {}, seed=seed, options=options)

    def step(
        self,
        action: Any,
        observation: Any,
        reward: Any,
        terminated: bool,  # noqa: FBT001 -- the order of Gymnasium's step
        truncated: bool,  # noqa: FBT001 -- as above
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """The action was taken on the last observation and led to this one."""
        self._stream.before(action)
        self._stream.after(observation, reward, terminated, truncated, info or {})

    def end(self) -> None:
        """End the episode, if it is still open, as aborted."""
        self._stream.end()

    def extra(self, **values: Any) -> None:
        """Facts of the behaviour policy for the step to come."""
        self._stream.set_extra(values)

    def annotate(self, **metadata: Any) -> None:
        """Metadata of the running or just ended episode."""
        self._stream.annotate(metadata)

    def discard_episode(self) -> None:
        """Give up the running or just ended episode: it is in no dataset."""
        self._stream.discard()

    def close(self) -> None:
        """End the recording; waits until it is visible, at most `drain_timeout` seconds, and warns after that.

        Raises:
            SpoolFull: Recording had been stopped because the spool was full.
        """
        self._stream.finish("closed")
        drain(self._stream, self._stream.config.drain_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _config(
    benchmark: str,
    way: tuple[Transport | str | None, str | None, GrantPath | None],
    spool_dir: str | os.PathLike[str] | None,
    *,
    on_full: OnFull,
    drain_timeout: float,
    policy: str | None,
) -> RecordingConfig:
    given, url, grant = way
    transport, state = chosen_transport(given, url=url, grant=grant), benchmark_of(benchmark)
    if is_kafka(transport.address):
        require_granted(transport, state.id, name="" if state.resolved else state.name)
    return RecordingConfig(
        transport=transport,
        owns_transport=transport is not given,
        directory=SpoolDirectory(spool_dir),
        benchmark=state,
        on_full=on_full,
        drain_timeout=drain_timeout,
        policy=policy,
    )


def benchmark_of(text: str) -> BenchmarkState:
    """The benchmark that a user names: an id as it is, a bare name as the caller's own.

    Raises:
        InvalidInput: The text is neither, or a name that the server would refuse; the message has the rule.
    """
    if not text.strip():
        raise InvalidInput("a name or an id is needed", place="benchmark")
    try:
        return BenchmarkState(id=str(uuid.UUID(text)), resolved=True)
    except ValueError:
        pass
    if "/" in text:
        raise InvalidInput(f"{text!r}: recording into another's benchmark goes by its id", place="benchmark")
    name = checked_name(text, "benchmark")
    return new_benchmark(make_id(time.time_ns() // 1_000_000, secrets.randbits(42)), name, None)


def _name_benchmark(config: RecordingConfig, descriptor: dict[str, Any]) -> None:
    """Ask the server once for the benchmark; without an answer in time the shipper asks again."""
    if config.benchmark is None or config.benchmark.resolved:
        return
    benchmark = replace(config.benchmark, descriptor=descriptor)
    config.benchmark = benchmark
    command = CreateBenchmark(
        command_id=benchmark.command_id,
        benchmark=parse_id(benchmark.id),
        name=benchmark.name,
        descriptor=descriptor,
    )
    answers: list[dict[str, Any] | TupliError] = []

    def ask() -> None:
        try:
            answers.append(config.transport.command(command))
        except TupliError as error:
            answers.append(error)

    thread = threading.Thread(target=ask, name="tupli-benchmark", daemon=True)
    thread.start()
    thread.join(FIRST_ANSWER_SECONDS)
    answer = answers[0] if answers else None
    if isinstance(answer, Conflict | InvalidInput):
        raise answer
    if isinstance(answer, TransportError | AuthError) or answer is None:
        return
    if isinstance(answer, TupliError):
        raise answer
    config.benchmark = replace(benchmark, id=str(answer.get("id", benchmark.id)), resolved=True)
