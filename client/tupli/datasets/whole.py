"""Whole episodes, those without a tuple included.

The server sends rows, and an episode without a tuple has none: its place among the others is known by its header.
"""

from collections.abc import Iterator

from tupli.datasets.collect import Collector
from tupli.datasets.nothing import empty_table
from tupli.datasets.reading import EpisodeData, Reading
from tupli.datasets.words import DEFAULT_WORDS
from tupli.models import EpisodeHeader

WORDS = (*DEFAULT_WORDS, "info")


def whole_episodes(reading: Reading) -> Iterator[EpisodeData]:
    """The episodes of a reading of `WORDS` with headers, in the dataset's order, as many as it has headers."""
    count = 0
    for episode in reading.episodes():
        while reading.stream.headers[count]["id"] != episode.header.id:
            yield _without_tuples(reading, count)
            count += 1
        yield episode
        count += 1
    for index in range(count, len(reading.stream.headers)):
        yield _without_tuples(reading, index)


def _without_tuples(reading: Reading, index: int) -> EpisodeData:
    """An episode that has no step yet: T is 0, and the observation it began on is not sent."""
    head = reading.stream.head
    schema = None if head is None else head.schema
    table = empty_table(WORDS, {}) if schema is None else Collector(schema, WORDS, 0).table()
    return EpisodeData(
        EpisodeHeader.from_json(reading.stream.headers[index]),
        table["observation"],
        table["action"],
        table["reward"],
        table["terminated"],
        table["truncated"],
        table["info"],
    )
