"""`TupliAPIClient`: a Tupli server, as the seed's storage class names what it can do."""

import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from tupli.errors import InvalidInput, NotFound
from tupli.models import BenchmarkHeader, Episode, EpisodeHeader
from tupli.names import checked_name, like_fields, scopes_of
from tupli.storage.delivery import Delivery, send, visible
from tupli.storage.http_query import HttpQuery
from tupli.storage.static import StaticEpisode, static_episode
from tupli.telling import tell
from tupli.transport import HttpTransport
from tupli_schemas.catalog import GLOBAL_SCOPE, CreateBenchmark, Delete, Publish, Unpublish
from tupli_schemas.events import BenchmarkRef
from tupli_schemas.filter_tree import BaseFilter, FilterEQ, FilterIN
from tupli_schemas.ids import RANDOM_BITS, id_text, make_id, parse_id
from tupli_schemas.values import to_tagged

EPISODES_PATH: Final = "/query/v1/episodes/list"
BENCHMARKS_PATH: Final = "/query/v1/benchmarks/list"
PAGE: Final = 1_000


class TupliAPIClient:
    """A storage on a Tupli server; in a `with` block, its connections are closed at the end.

    Args:
        url: Its address, `TUPLI_URL`, or the local one.
        token: A bearer token, or a function that gives the current one; `TUPLI_TOKEN` when left out.

    Attributes:
        transport: The write side.
        query: The read side.
    """

    def __init__(self, url: str | None = None, token: str | Callable[[], str] | None = None) -> None:
        self._token = token
        self._connect(url)

    def _connect(self, url: str | None) -> None:
        self.transport = HttpTransport(url, self._token)
        self.query = HttpQuery(url, self._token)

    @property
    def address(self) -> str:
        """The server's address."""
        return self.query.address

    def set_url(self, url: str) -> None:
        """Talk to another server from now on."""
        self.close()
        self._connect(url)

    def close(self) -> None:
        """Let go of connections; the next call opens new ones."""
        self.transport.close()
        self.query.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- benchmarks --------------------------------------------------------------------------------------------

    def list_benchmarks(self, benchmark_filter: BaseFilter | None = None) -> list[BenchmarkHeader]:
        """Benchmarks that match, those made first first."""
        body = {} if benchmark_filter is None else {"benchmark_filter": benchmark_filter.to_json()}
        return [BenchmarkHeader.from_json(row) for row in self._pages(BENCHMARKS_PATH, "benchmarks", body)]

    def store_benchmark(
        self,
        name: str,
        *,
        descriptor: Mapping[str, Any] | None = None,
        description: str = "",
        difficulty: str = "",
        version: str = "",
        extra: Mapping[str, Any] | None = None,
    ) -> BenchmarkHeader:
        """Create a benchmark, or find my own of that name with the same spaces.

        Raises:
            InvalidInput: That is no name for a benchmark.
            Conflict: I have one of that name with other spaces.
        """
        made = CreateBenchmark(
            command_id=_command_id(),
            benchmark=make_id(time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS)),
            name=checked_name(name, "name"),
            descriptor=dict(descriptor or {}),
            description=description,
            difficulty=difficulty,
            version=version,
            extra=to_tagged(dict(extra or {})),
        )
        result = self.transport.command(made)
        return BenchmarkHeader.from_json({"name": name, **result})

    def load_benchmark(self, benchmark_id: str) -> BenchmarkHeader:
        """One benchmark, with its descriptor.

        Raises:
            NotFound: There is none of that id that the caller may see.
        """
        found = self.list_benchmarks(FilterEQ(key="id", value=str(benchmark_id)))
        if not found:
            raise NotFound(f"there is no benchmark {benchmark_id}")
        return found[0]

    def publish_benchmark(self, benchmark_id: str, publish_in: str = GLOBAL_SCOPE) -> None:
        """Make a benchmark visible in a scope."""
        self._publish("benchmark", benchmark_id, publish_in)

    def unpublish_benchmark(self, benchmark_id: str, unpublish_from: str = GLOBAL_SCOPE) -> None:
        """End its visibility in a scope."""
        self._unpublish("benchmark", benchmark_id, unpublish_from)

    def delete_benchmark(self, benchmark_id: str) -> None:
        """Delete a benchmark and its episodes for good."""
        self._delete("benchmark", benchmark_id)

    # -- episodes ----------------------------------------------------------------------------------------------

    def list_episodes(self, episode_filter: BaseFilter | None = None) -> list[EpisodeHeader]:
        """Ended and aborted episodes that match, in the order of their benchmarks and ids."""
        body = {} if episode_filter is None else {"episode_filter": episode_filter.to_json()}
        return list(self.iter_headers(body))

    def iter_headers(self, request: Mapping[str, Any], limit: int | None = None) -> Iterator[EpisodeHeader]:
        """Headers that a request of the query service names, page by page, `limit` at most."""
        rows = self._pages(EPISODES_PATH, "episodes", request)
        for index, row in enumerate(rows):
            if limit is not None and index >= limit:
                return
            yield EpisodeHeader.from_json(row)

    def load_episode(self, episode_id: str) -> EpisodeHeader:
        """One episode's header.

        Raises:
            NotFound: There is none of that id that the caller may see.
        """
        found = self.list_episodes(FilterEQ(key="id", value=str(episode_id)))
        if not found:
            raise NotFound(f"there is no episode {episode_id}")
        return found[0]

    def publish_episode(self, episode_id: str, publish_in: str = GLOBAL_SCOPE) -> None:
        """Make an episode visible in a scope, also one that is not there yet; `publish` looks first."""
        self._publish("episode", episode_id, publish_in)

    def unpublish_episode(self, episode_id: str, unpublish_from: str = GLOBAL_SCOPE) -> None:
        """End its visibility in a scope."""
        self._unpublish("episode", episode_id, unpublish_from)

    def delete_episode(self, episode_id: str) -> None:
        """Delete an episode for good. Once more, or of an id that never was, it is no error; `delete` looks first."""
        self._delete("episode", episode_id)

    def record(self, episode: Episode, publish_in: str | tuple[str, ...] = ()) -> EpisodeHeader:
        """Record a whole episode of static data; the header of it once it is visible.

        Raises:
            NotFound: The benchmark does not exist, or the caller may not see it.
            InvalidInput: The episode has no steps, its values do not fit together, or the benchmark's spaces do not
                allow them.
            TransportError: It was accepted and is not visible after half a minute.
        """
        made = _made(episode, self.load_benchmark(episode.benchmark_id), publish_in)
        for body in made.requests():
            send(self.transport, body)
        return self._visible([id_text(made.id)])[0]

    record_episode = record

    def record_episodes(
        self, episodes: Iterable[Episode], publish_in: str | tuple[str, ...] = ()
    ) -> list[EpisodeHeader]:
        """Record many episodes of static data; their headers, in the same order, once all are visible.

        Small episodes share requests, and there is one wait, at the end. The iterable may be a generator: it is read
        once, and about a megabyte of it (or one episode, if that is larger) is held at a time.

        Raises:
            NotFound, InvalidInput, Conflict: One of the episodes cannot be recorded, as in `record`; `place` begins
                with its index (`episodes[3]`). Those before it are accepted, and visible a little later; it and those
                behind it are not. The same where the iterable itself raises: its error goes through, with a note if
                those before it could not be recorded. (Of an episode of more than 8 MiB a part may be left, as an
                open one.)
            TransportError: The server could not be reached, and the message says from which index on; or all was
                accepted, and half a minute long nothing more of it was visible.
            KeyboardInterrupt: Of the caller or its iterable, as `GeneratorExit`: nothing more is sent, and what was not
                sent by then (about a megabyte, or one episode) is not recorded.
        """
        delivery, ids = Delivery(self.transport), list[str]()
        benchmarks: dict[str, BenchmarkHeader] = {}

        def made(episode: Episode) -> StaticEpisode:
            if not isinstance(episode, Episode):
                raise InvalidInput(f"{type(episode).__name__} is no Episode")
            if episode.benchmark_id not in benchmarks:
                benchmarks[episode.benchmark_id] = self.load_benchmark(episode.benchmark_id)
            return _made(episode, benchmarks[episode.benchmark_id], publish_in)

        try:
            for index, episode in enumerate(episodes):
                static = delivery.prepared(index, partial(made, episode))
                for body in static.requests():
                    delivery.add(index, body)
                ids.append(id_text(static.id))
        except Exception as error:  # not Ctrl-C: who wants to leave does not wait for a server
            delivery.flush_after(error)
            raise
        delivery.flush()
        return self._visible(ids)

    def _visible(self, ids: Sequence[str]) -> list[EpisodeHeader]:
        def ask(some: Sequence[str]) -> Iterator[EpisodeHeader]:
            return self.iter_headers({"episode_filter": FilterIN(key="id", value=tuple(some)).to_json()})

        return visible(ids, ask)

    # -- either ------------------------------------------------------------------------------------------------

    def publish(self, any_id: str, publish_in: str = GLOBAL_SCOPE) -> None:
        """Make a benchmark or an episode visible in a scope; its kind is found by its id.

        Raises:
            NotFound: There is nothing of that id that the caller may see.
        """
        self._publish(self._kind(any_id), any_id, publish_in)

    def unpublish(self, any_id: str, unpublish_from: str = GLOBAL_SCOPE) -> None:
        """End the visibility of a benchmark or an episode in a scope; its kind is found by its id.

        Raises:
            NotFound: There is nothing of that id that the caller may see.
        """
        self._unpublish(self._kind(any_id), any_id, unpublish_from)

    def delete(self, any_id: str) -> None:
        """Delete an episode, or a benchmark and its episodes, for good; its kind is found by its id.

        Raises:
            NotFound: There is nothing of that id that the caller may see; also when it was deleted before.
        """
        self._delete(self._kind(any_id), any_id)

    def _kind(self, any_id: str) -> str:
        # The ordinal in an episode's id is never 0, but ids of elsewhere may be: ask.
        condition = FilterEQ(key="id", value=str(any_id)).to_json()
        every = {"include": ["open", "abandoned", "incomplete", "conflict"]}
        for kind, path, more in (("episode", EPISODES_PATH, every), ("benchmark", BENCHMARKS_PATH, {})):
            if self.query.ask(path, {f"{kind}_filter": condition, "limit": 1} | more).get(f"{kind}s"):
                return kind
        raise NotFound(f"there is neither an episode nor a benchmark {any_id}")

    def _publish(self, kind: str, any_id: str, scope: str) -> None:
        self.transport.command(Publish(command_id=_command_id(), kind=kind, ids=(_id(any_id),), scope=scope))

    def _unpublish(self, kind: str, any_id: str, scope: str) -> None:
        self.transport.command(
            Unpublish(command_id=_command_id(), kind=kind, ids=(_id(any_id),), scope=scope)
        )

    def _delete(self, kind: str, any_id: str) -> None:
        self.transport.command(Delete(command_id=_command_id(), kind=kind, ids=(_id(any_id),)))

    def _pages(self, path: str, member: str, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        body = {**request, "limit": PAGE}
        while True:
            answer = self.query.ask(path, body)
            yield from answer[member]
            if answer.get("cursor") is None:
                return
            body["cursor"] = answer["cursor"]


def _made(episode: Episode, benchmark: BenchmarkHeader, publish_in: str | tuple[str, ...]) -> StaticEpisode:
    now = time.time_ns()
    for _, told in like_fields(episode.metadata):
        tell(told)
    return static_episode(
        episode,
        BenchmarkRef(_id(benchmark.id), benchmark.name),
        make_id(now // 1_000_000, secrets.randbits(RANDOM_BITS)),
        now,
        publish_in=scopes_of(publish_in),
        versions={"numpy": np.__version__},
        descriptor=benchmark.descriptor,
    )


def _command_id() -> str:
    return str(uuid.uuid4())


def _id(text: str) -> bytes:
    try:
        return parse_id(str(text))
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not an id", place="id") from error
