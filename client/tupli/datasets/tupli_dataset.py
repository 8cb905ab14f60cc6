"""`TupliDataset`: exactly the tuples asked for.

A dataset is a question. Filters, order and limits are immutable: every `with_*` gives a new dataset, and nothing
is asked of the server before rows or headers are wanted. What was loaded, and the seed of random numbers, are
state of the object.

Its episodes are those that benchmark filter, episode filter, order and `limit_episodes` choose, also where one has no
tuple, or none that the tuple filter keeps: `preview`, `iter_episodes`, `load` and `limit_episodes` agree about them.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import psutil

from tupli.datasets.batches import Batches
from tupli.datasets.estimate import loaded_bytes, size_text
from tupli.datasets.forms import LoadedForms
from tupli.datasets.loaded import Loaded
from tupli.datasets.nothing import Declared
from tupli.datasets.preview import Preview
from tupli.datasets.query import check_batch_size, check_include, named_benchmark
from tupli.datasets.reading import EpisodeData, Reading
from tupli.datasets.whole import WORDS, whole_episodes
from tupli.datasets.words import DEFAULT_WORDS, check_words
from tupli.errors import InvalidInput, NotFound
from tupli.models import BenchmarkHeader, EpisodeHeader
from tupli_schemas.catalog import GLOBAL_SCOPE, MAX_IDS, Delete, Publish
from tupli_schemas.ids import parse_id
from tupli_schemas.steps import StepSchema

if TYPE_CHECKING:
    from tupli.storage.api import TupliAPIClient

COUNT_PATH: Final = "/query/v1/datasets/count"


class TupliDataset(LoadedForms):
    """The tuples of some episodes of some benchmarks, ended and aborted episodes unless told otherwise.

    Args:
        storage: Where they are; a new `TupliAPIClient` when left out.
        info: Anything; kept for the caller.
    """

    def __getitem__(self, index: object) -> Any:
        """No: neither a tuple nor an episode is what a dataset consists of; iterating ends here, too."""
        raise TypeError(
            "a dataset is a question: iter_episodes() gives its episodes, batches() and to_numpy() its tuples, "
            "preview() counts them, and .tuples[i] is one of those that load() keeps"
        )

    # -- headers and counts ------------------------------------------------------------------------------------

    def preview(self) -> Preview:
        """Headers and counts, no tuples.

        The headers are those of all episodes that were chosen, also where a tuple filter keeps none of their tuples.
        The count is what tuple filter and limit leave; None where the filter is a Python function.

        Raises:
            NotFound: The benchmark that the dataset names does not exist.
        """
        headers = self._headers()
        if self._query.tuple_predicate is not None:
            return Preview(headers, None)
        if self._query.tuple_filter is None:
            count = sum(header.n_tuples for header in headers)
        else:
            count = int(self._count()["tuples"])
        return Preview(headers, count if self._query.limit is None else min(count, self._query.limit))

    @property
    def benchmarks(self) -> list[BenchmarkHeader]:
        """The benchmarks that the benchmark filter chooses."""
        return self.storage.list_benchmarks(self._query.benchmark_filter)

    def sample_episodes(self, n_samples: int) -> list[EpisodeHeader]:
        """`n_samples` different episodes (all, if there are fewer) in random order."""
        headers = self._headers() if self._loaded is None else self._loaded.headers
        rows = self._rng.permutation(len(headers))[:n_samples]
        return [headers[int(row)] for row in rows]

    # -- rows --------------------------------------------------------------------------------------------------

    def to_numpy(self, columns: Iterable[str] | None = None) -> dict[str, Any]:
        """Arrays under the filter's words, typed and shaped as recorded.

        Args:
            columns: Some of `observation action reward next_observation terminated truncated episode step time
                info extra`, or one of them as text; the first eight when left out. `episode` counts the dataset's
                episodes.

        Returns:
            A word's array of shape `(n, ...)`, dicts and tuples of arrays for Dict and Tuple spaces. With
            `next_observation` comes `has_next`: where it is False nobody knows the observation after the step,
            and what stands there (NaN, 0) means nothing. With `extra`, a dict of the facts that any of the episodes
            has, comes `has_extra`, a dict of the same names: where it is False the episode lacks the fact, and what
            stands there (NaN, 0, None) means nothing.

            Without a tuple, arrays are typed and shaped as the benchmark's other episodes are: `(0, 4)` float32. Where
            there are none, or of several step schemas, observations and actions are what the spaces of the benchmark
            say that the dataset names, else float64 of shape `(0,)`; all other words are typed as ever.

            Each change between episodes with and without a fact costs the server some 20 ms, also where `extra` is
            not asked for: where 10,000 take turns, read each step schema alone (`with_step_schema`).

        Raises:
            NotFound: The benchmark that the dataset names does not exist.
            Conflict: The episodes have several step schemas (`with_step_schema` chooses one), or `extra` is wanted
                and a fact has two types.
            TransportError: The server could not be reached, or broke off, too many times in a row.
            IntegrityError: What came is not what the server says that it sent.
        """
        words = DEFAULT_WORDS if columns is None else check_words(columns)
        return self._reading(words).pulled().table

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        columns: Iterable[str] | None = None,
        window: int | None = None,
    ) -> Batches:
        """The same arrays in batches, in flat memory.

        Args:
            batch_size: Rows of a batch; the last one may have fewer.
            shuffle: Whether rows are shuffled, within `window` rows; `.window` of the answer says within how many.
            seed: Of the shuffle; that of `set_seed` when left out.
            columns: As for `to_numpy`.
            window: Rows that are shuffled together, four batches when left out; they are held in memory.

        Raises:
            InvalidInput: `batch_size` is no whole number from 1.
        """
        check_batch_size(batch_size)
        words = DEFAULT_WORDS if columns is None else check_words(columns)
        seed = self._seed if seed is None else seed
        return Batches(lambda: self._reading(words), batch_size, shuffle=shuffle, seed=seed, window=window)

    def iter_episodes(self) -> Iterator[EpisodeData]:
        """Whole episodes, one after the other: T+1 observations each, T of everything else.

        They are those of `preview`, in the dataset's order. One that is `open` and has no step yet has T = 0, and no
        observations either.

        Raises:
            InvalidInput: There is a tuple filter or limit: what is left of an episode is not whole.
        """
        self._check_whole()
        return whole_episodes(self._reading(WORDS, headers=True))

    def load(self, max_bytes: int | None = None) -> "TupliDataset":
        """Fetch everything into memory, for the attributes below; returns the dataset.

        Args:
            max_bytes: The most that it may take, a quarter of the machine's memory when left out.

        Raises:
            InvalidInput: It would take more.
        """
        limit = psutil.virtual_memory().total // 4 if max_bytes is None else max_bytes
        reading = self._reading(WORDS, headers=True)
        self._loaded = Loaded(reading.pulled(lambda schema, most: self._estimate(schema, most, limit)))
        return self

    # -- what it names -----------------------------------------------------------------------------------------

    def publish(self, publish_in: str = GLOBAL_SCOPE) -> int:
        """Make all its episodes visible in a scope; how many they are.

        Raises:
            InvalidInput: There is a tuple filter or limit: episodes are published whole.
        """

        def command(ids: tuple[bytes, ...]) -> Publish:
            return Publish(command_id=str(uuid.uuid4()), kind="episode", ids=ids, scope=publish_in)

        return self._command(command)

    def delete(self) -> int:
        """Delete all its episodes for good; how many they were.

        Raises:
            InvalidInput: There is a tuple filter or limit: episodes are deleted whole.
        """
        return self._command(lambda ids: Delete(command_id=str(uuid.uuid4()), kind="episode", ids=ids))

    def _reading(self, words: Iterable[str], *, headers: bool = False) -> Reading:
        return Reading(
            self.storage.query, self._query, tuple(words), headers=headers, on_nothing=self._declared
        )

    def _headers(self) -> list[EpisodeHeader]:
        request, limit = self._query.episodes_request(), self._query.limit_episodes
        headers = list(self.storage.iter_headers(request, limit))
        if not headers:
            self._check_benchmark()
        return headers

    def _check_benchmark(self) -> list[BenchmarkHeader]:
        """A dataset without episodes is empty; one of a benchmark that does not exist is a slip.

        The benchmark that the dataset names; none where it names none.
        """
        if self._query.benchmark is None:
            return []
        found = self.benchmarks
        if not found:
            raise NotFound(f"there is no benchmark {self._query.benchmark}")
        return found

    def _declared(self) -> Declared:
        """What the spaces of the benchmark that the dataset names say of arrays that nobody has recorded."""
        from tupli.storage.allowed import declared_structure  # noqa: PLC0415 -- storages make datasets, too

        return {
            group: declared_structure(header.descriptor.get(f"{group}_space"))
            for header in self._check_benchmark()
            for group in ("observation", "action")
        }

    def _check_whole(self) -> None:
        query = self._query
        if query.tuple_filter is not None or query.tuple_predicate is not None:
            raise InvalidInput("episodes are whole only without a tuple filter", place="tuple_filter")
        if query.limit is not None:
            raise InvalidInput(
                "episodes are whole only without a limit of tuples; there is limit_episodes", place="limit"
            )

    def _count(self) -> dict[str, Any]:
        request = self._query.request(())
        keys = (
            "benchmark_filter",
            "episode_filter",
            "tuple_filter",
            "include",
            "step_schema",
            "order_by",
            "limit_episodes",
        )
        return self.storage.query.ask(COUNT_PATH, {key: request[key] for key in keys if key in request})

    def _command(self, make: Callable[[tuple[bytes, ...]], Any]) -> int:
        self._check_whole()
        ids = [parse_id(header.id) for header in self._headers()]
        for start in range(0, len(ids), MAX_IDS):
            self.storage.transport.command(make(tuple(ids[start : start + MAX_IDS])))
        return len(ids)

    def _estimate(self, schema: StepSchema | None, most: int, limit: int) -> None:
        if schema is None:
            return
        row = loaded_bytes(schema)
        if most * row > limit and self._query.tuple_filter is not None:
            most = int(self._count()["tuples"])  # the filter may leave little of it
        most = most if self._query.limit is None else min(most, self._query.limit)
        if most * row > limit:
            raise InvalidInput(
                f"{most:,} tuples take about {size_text(most * row)}, more than the {size_text(limit)} allowed: "
                "use `for batch in dataset.batches(65_536): ...`, or load(max_bytes=...)",
                place="max_bytes",
            )

    @property
    def _data(self) -> Loaded:
        if self._loaded is None:
            self.load()
        if self._loaded is None:
            raise RuntimeError("loading left nothing")
        return self._loaded


def dataset(
    benchmark: str | None = None,
    *,
    storage: "TupliAPIClient | None" = None,
    url: str | None = None,
    include: Iterable[str] | None = None,
) -> TupliDataset:
    """The dataset of a benchmark: an id, `owner/name`, or a name of mine; of everything when left out.

    Args:
        benchmark: Which one. Where there is none of that name, reading raises `NotFound`.
        storage: Where it is; a new `TupliAPIClient` when left out.
        url: The server's address, instead of a storage.
        include: Statuses of episodes besides ended and aborted ones: `open`, `abandoned`, `incomplete`, `conflict`.
    """
    if storage is None and url is not None:
        from tupli.storage.api import TupliAPIClient  # noqa: PLC0415 -- storages make datasets, too

        storage = TupliAPIClient(url)
    out = TupliDataset(storage).including(*check_include(include or ()))
    if benchmark is None:
        return out
    return out._with(benchmark=benchmark, benchmark_filter=named_benchmark(benchmark))  # noqa: SLF001 -- its own module
