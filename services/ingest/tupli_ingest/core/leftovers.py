"""What is left under `NO_BENCHMARK` of episodes whose start has come: rows that stand where they belong as well.

Whoever folds a start moves the rows that were there before it and erases them. A worker that slept past its
session, and has not seen the start, may write them there once more when it wakes up; and it may die of that, so
that nobody who knows of them is left. Nothing there is read as part of a dataset, but an owner who lists episodes
that are incomplete would find the episode twice.

They may be erased at any time, whoever is at work. A header under a benchmark is written after all rows of all
records up to its start stand under that benchmark; so from then on nobody needs those under `NO_BENCHMARK`. And
no row stands there without a header beside it: markers are written first (`core.block`), headers are erased last.
"""

from dataclasses import replace

from tupli_ingest.core.ports import NO_BENCHMARK, EpisodeKey, EpisodeStore

IDS_AT_ONCE = 1_000


def leftovers(store: EpisodeStore) -> list[EpisodeKey]:
    """The keys to erase.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    parked = [(key.owner, key.episode) for key in store.find_episodes(benchmark=NO_BENCHMARK)]
    found: list[EpisodeKey] = []
    for start in range(0, len(parked), IDS_AT_ONCE):
        part = set(parked[start : start + IDS_AT_ONCE])
        twins = store.find_episodes(ids=[episode for _, episode in part])
        found += [
            replace(key, benchmark=NO_BENCHMARK)  # a marker does not know the layout
            for key in twins
            if key.benchmark != NO_BENCHMARK and (key.owner, key.episode) in part
        ]
    return found
