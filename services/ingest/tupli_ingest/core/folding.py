"""What each item of a stream does to the facts of its episode.

First wins: what contradicts is told, never folded.
"""

from typing import Any, Final

import orjson

from tupli_ingest.core.headers import EpisodeFacts, merged
from tupli_ingest.core.rows import Group
from tupli_schemas.events import EpisodeAmended, EpisodeEnded, EpisodeStarted

MAX_RANGES: Final = 10_000
"""Ranges that a stream or an episode may fall into; more gaps than this are nobody's lost request."""


def start_facts(event: EpisodeStarted) -> dict[str, Any]:
    """The facts that a start settles, by the names of `EpisodeFacts` (metadata apart: others add to it)."""
    return {
        "benchmark": event.benchmark.id,
        "slot": event.slot,
        "layout": event.step_schema.layout.text,
        "step_schema": event.step_schema.json.decode(),
        "started_at": event.started_at,
        "seed": _json(event.seed),
        "options": _json(event.options),
        "reset_info": _json(event.reset_info),
        "run": event.run,
        "policy": event.policy,
        "environment": _json(event.environment),
        "versions": _json(event.versions),
        "publish_in": event.publish_in,
    }


def end_facts(event: EpisodeEnded) -> dict[str, Any]:
    """The facts that an end settles (metadata and the wish to discard apart)."""
    return {
        "ended_at": event.ended_at,
        "terminated": event.terminated,
        "truncated": event.truncated,
        "aborted": event.aborted,
        "reason": event.reason,
        "n_steps": event.n_steps,
        "has_final": event.has_final,
        "return_": None if event.return_ is None else float(event.return_),
        "digest": event.digest,
    }


def fold_start(episode: EpisodeFacts, event: EpisodeStarted, offset: int) -> bool:
    """Fold a start in; False when it contradicts what came before, and is not folded."""
    facts = start_facts(event)
    if episode.has_start:
        episode.contradict(offset, f"started a second time, under the number {event.first}")
        return False
    if episode.layout not in ("", facts["layout"]):
        episode.contradict(offset, "its start has another layout than rows that came before it")
        return False
    _settle(episode, facts)
    episode.has_start = True
    episode.metadata = merged(event.metadata, episode.metadata or None)
    return True


def fold_end(episode: EpisodeFacts, event: EpisodeEnded, offset: int) -> None:
    """Fold an end in, unless it contradicts what came before."""
    if episode.ended:
        episode.contradict(offset, f"ended a second time, under the number {event.first}")
        return
    final, last = episode.final_step, episode.received.last
    if final is not None and not (event.has_final and event.n_steps == final):
        episode.contradict(offset, f"ends with {event.n_steps} steps, but its final row is step {final}")
        return
    if final is None and last is not None and last >= event.n_steps:
        episode.contradict(offset, f"ends with {event.n_steps} steps, but step {last} has come")
        return
    _settle(episode, end_facts(event))
    episode.ended = True
    episode.discarded |= event.discarded
    episode.merge_metadata(event.metadata)


def fold_amendment(episode: EpisodeFacts, event: EpisodeAmended) -> None:
    """Merge metadata, and keep the wish to discard."""
    episode.discarded |= event.discarded
    episode.merge_metadata(event.metadata)


def fold_rows(episode: EpisodeFacts, group: Group, offset: int) -> None:
    """Count the rows of one record that belong to the episode; those that cannot be are told, not counted."""
    last = group.last - group.final
    ceiling = _ceiling(episode)
    if ceiling is not None and last >= ceiling:
        episode.contradict(offset, f"has {ceiling} steps, but a row for step {last} came")
        last = ceiling - 1
    received = episode.received
    if group.first <= last:
        if received.last is not None and group.first <= received.last:
            for step, _ in received.common(group.first, last)[:1]:
                episode.contradict(offset, f"step {step} came under two numbers")
        if len(received) >= MAX_RANGES and group.first - 1 not in received and group.first not in received:
            episode.contradict(offset, f"its steps have more than {MAX_RANGES} gaps")
        else:
            received.add(group.first, last)
    if group.final:
        _fold_final(episode, group.last, offset)


def _fold_final(episode: EpisodeFacts, step: int, offset: int) -> None:
    if episode.ended:
        if not episode.has_final or step != episode.n_steps:
            told = f"step {episode.n_steps}" if episode.has_final else "none"
            episode.contradict(offset, f"a final row for step {step} came, but its end says {told}")
            return
        if step in episode.received:
            episode.contradict(offset, f"the final row, step {step}, came under two numbers")
            return
    elif episode.has_final:
        episode.contradict(offset, f"a second final row came, for step {step}")
        return
    elif episode.received.last is not None and episode.received.last >= step:
        told = f"a final row for step {step} came, but step {episode.received.last} has come too"
        episode.contradict(offset, told)
        return
    episode.received.add(step, step)
    episode.has_final = True


def _ceiling(episode: EpisodeFacts) -> int | None:
    """Below which step transitions can be, as far as it is known."""
    return episode.n_steps if episode.ended else episode.final_step


def compare_start(episode: EpisodeFacts, event: EpisodeStarted, offset: int) -> None:
    """A start whose number had come: tell when it is not the one that came (metadata is not compared)."""
    if not episode.has_start:
        episode.contradict(offset, f"its start came under the number {event.first}, which was something else")
        return
    _compare(episode, start_facts(event), "start", offset)


def compare_end(episode: EpisodeFacts, event: EpisodeEnded, offset: int) -> None:
    """An end whose number had come: tell when it is not the one that came (metadata is not compared)."""
    if not episode.ended:
        episode.contradict(offset, f"its end came under the number {event.first}, which was something else")
        return
    _compare(episode, end_facts(event), "end", offset)


def _compare(episode: EpisodeFacts, facts: dict[str, Any], what: str, offset: int) -> None:
    # repr tells 0.0 from -0.0, and NaN is equal to itself.
    other = [name for name, value in facts.items() if repr(getattr(episode, name)) != repr(value)]
    if other:
        episode.contradict(offset, f"its {what} was repeated with another {', '.join(other)}")


def _settle(episode: EpisodeFacts, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        setattr(episode, name, value)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
