"""Headers in two parts: facts of a fixed size, for a listing of thousands, and texts of any size, read for a few."""

# ruff: noqa: S608 - identifiers are our constants, values travel as parameters

from collections.abc import Sequence
from typing import Final

from tupli_query.core.context import Context
from tupli_query.core.sql import READ_SETTINGS, CompiledQuery, Params, settings_clause
from tupli_query.core.views import EPISODE_KEY, in_episodes, visible_episodes

HEADER_TEXTS: Final = (
    "seed",
    "options",
    "reset_info",
    "run",
    "policy",
    "environment",
    "versions",
    "metadata",
    "reason",
    "conflict_reason",
    "scopes",
)
"""The part of a header that may have any size; `header_bytes` tells it."""
HEADER_FACTS: Final = (
    "benchmark",
    "owner",
    "episode",
    "slot",
    "layout",
    "started_at",
    "ended_at",
    "received_at",
    "ended",
    "terminated",
    "truncated",
    "n_tuples",
    "has_final",
    "return",
    "digest",
    "state",
    "header_bytes",
)
"""The rest of a header: a listing may have thousands of them."""


def read_headers(context: Context, episodes: Sequence[tuple[bytes, bytes, bytes]]) -> CompiledQuery:
    """`HEADER_TEXTS` of episodes (benchmark, owner, episode) that a listing gave, in no order.

    Those that the caller may not see, or no longer, are left out.
    """
    params = Params()
    view = visible_episodes(context, params, in_episodes(episodes, params))
    text = f"SELECT {EPISODE_KEY}, {', '.join(HEADER_TEXTS)} FROM (\n{view}\n)"
    return CompiledQuery(context.visibility, f"{text}\n{settings_clause(READ_SETTINGS)}", params.values)


def count_there(context: Context, episodes: Sequence[tuple[bytes, bytes, bytes]]) -> CompiledQuery:
    """How many (`there`) of these episodes (benchmark, owner, episode) the caller may see now."""
    params = Params()
    view = visible_episodes(context, params, in_episodes(episodes, params))
    text = f"SELECT count() AS there FROM (\n{view}\n)\n{settings_clause(READ_SETTINGS)}"
    return CompiledQuery(context.visibility, text, params.values)


def deletions_so_far(context: Context) -> CompiledQuery:
    """A number (`commands`) that another deletion changes."""
    text = f"SELECT count() + max(version) AS commands FROM {context.database}.deletions"
    return CompiledQuery(context.visibility, text, {})
