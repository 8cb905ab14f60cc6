"""What a caller may see of benchmarks and episodes: the one place where visibility is decided.

Deletions and publications are facts of another topic, joined here. They count only where their subject owns
the object. A deleted benchmark hides its episodes; a discarded episode is hidden.
"""

# ruff: noqa: S608 -- identifiers are our constants, values travel as parameters

from collections.abc import Iterable
from typing import Final

from tupli_query.core.context import Context
from tupli_query.core.sql import TRUE, Params, conjunction, disjunction

EPISODE_KEY: Final = "benchmark, owner, episode"


def visible_benchmarks(context: Context, params: Params) -> str:
    """A subquery: rows of `benchmarks` that the caller may see, and in `scopes` where each is published."""
    database = context.database
    deleted = f"SELECT id, subject FROM {database}.deletions FINAL WHERE kind = 'benchmark'"
    return (
        f"SELECT b.*, {_shown_scopes('b.owner', 'p.shown', context, params)} AS scopes\n"
        f"FROM {database}.benchmarks AS b FINAL\n"
        f"LEFT JOIN ({_publications(database, 'benchmark')}) AS p ON p.id = b.id AND p.subject = b.owner\n"
        f"WHERE (b.id, b.owner) NOT IN ({deleted})\n"
        f"  AND {_may_see('b.owner', context, params)}"
    )


def visible_episodes(context: Context, params: Params, restriction: str = TRUE) -> str:
    """A subquery: the rows of `episodes` that the caller may see, with what is known at query time.

    `state` is the status, `abandoned` among them; `n_tuples` counts the transitions that can be read;
    `scopes` is where the episode is published. `restriction` narrows it by columns of the sorting key.
    """
    database = context.database
    published = (
        "arraySort(arrayDistinct(arrayConcat(arrayFilter(s -> NOT has(p.hidden, s), e.publish_in), p.shown)))"
    )
    silent_since = params.whole(context.now_ns - context.abandoned_after_ns)
    return (
        "SELECT e.*, if(e.ended = 1, least(e.prefix, e.n_steps), e.prefix) AS n_tuples,\n"
        f"  if(e.status = 'open' AND e.received_at < {silent_since}, 'abandoned', toString(e.status)) AS state,\n"
        f"  {_shown_scopes('e.owner', published, context, params)} AS scopes\n"
        f"FROM (SELECT *, header_bytes FROM {database}.episodes FINAL WHERE {restriction} AND discarded = 0) AS e\n"
        f"LEFT JOIN ({_publications(database, 'episode')}) AS p ON p.id = e.episode AND p.subject = e.owner\n"
        f"WHERE {_not_deleted(database, 'e.')}\n"
        f"  AND {_may_see('e.owner', context, params)}"
    )


def own_episodes(context: Context, params: Params, restriction: str = TRUE) -> str:
    """A subquery: the keys of the caller's own episodes that `visible_episodes` has.

    Where an episode is published makes no difference to its owner, and not asking takes half the time.
    """
    database = context.database
    return (
        f"SELECT {EPISODE_KEY} FROM {database}.episodes FINAL\n"
        f"WHERE {restriction} AND discarded = 0 AND owner = {params.raw(context.visibility.subject)}\n"
        f"  AND {_not_deleted(database)}"
    )


def in_episodes(rows: Iterable[tuple[bytes, bytes, bytes]], params: Params) -> str:
    """The condition that a row is of one of these episodes (benchmark, owner, episode)."""
    groups: dict[tuple[bytes, bytes], list[bytes]] = {}
    for benchmark, owner, episode in rows:
        groups.setdefault((benchmark, owner), []).append(episode)
    parts = [
        conjunction(
            (
                f"benchmark = {params.raw(benchmark)}",
                f"owner = {params.raw(owner)}",
                f"episode IN (SELECT arrayJoin({params.ids(episodes)}))",
            )
        )
        for (benchmark, owner), episodes in groups.items()
    ]
    return disjunction(parts)


def _not_deleted(database: str, prefix: str = "") -> str:
    """The condition that neither an episode nor its benchmark was deleted by who owns it."""
    episodes = f"SELECT id, subject FROM {database}.deletions FINAL WHERE kind = 'episode'"
    benchmarks = (
        f"SELECT id FROM {database}.deletions FINAL WHERE kind = 'benchmark' "
        f"AND (id, subject) IN (SELECT id, owner FROM {database}.benchmarks FINAL)"
    )
    return (
        f"({prefix}episode, {prefix}owner) NOT IN ({episodes})\n  AND {prefix}benchmark NOT IN ({benchmarks})"
    )


def _publications(database: str, kind: str) -> str:
    return (
        "SELECT id, subject, groupArrayIf(scope, published = 1) AS shown, "
        "groupArrayIf(scope, published = 0) AS hidden "
        f"FROM {database}.publications FINAL WHERE kind = '{kind}' GROUP BY id, subject"
    )


def _shown_scopes(owner: str, published: str, context: Context, params: Params) -> str:
    """The owner sees every scope, others those that they have themselves."""
    me, mine = params.raw(context.visibility.subject), params.texts(sorted(context.visibility.scopes))
    return f"arrayFilter(s -> {owner} = {me} OR has({mine}, s), {published})"


def _may_see(owner: str, context: Context, params: Params) -> str:
    """The visibility condition; `scopes` holds only what the caller has, unless the object is his."""
    return f"({owner} = {params.raw(context.visibility.subject)} OR notEmpty(scopes))"
