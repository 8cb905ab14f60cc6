"""What the server refused for good: pairs of an event and a document that says why, in `<root>/rejected`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Rejected:
    """Events of one stream that were refused for one reason, as `tupli spool status` shows them.

    Attributes:
        events: How many.
        first: Least number of theirs in the stream.
        last: Greatest.
        code: Of the problem.
        detail: What it says of the first of them.
    """

    stream: str
    events: int
    first: int
    last: int
    code: str
    detail: str
    bytes: int
    folder: str


def rejected(folder: Path) -> list[Rejected]:
    """What lies in the folder, by stream and reason."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in folder.glob("*.json"):
        about = _about(file)
        groups.setdefault((about["stream"], about["code"]), []).append(about)
    return [_group(folder, groups[key]) for key in sorted(groups)]


def _group(folder: Path, events: list[dict[str, Any]]) -> Rejected:
    events.sort(key=lambda about: about["first"])
    one = events[0]
    return Rejected(
        stream=one["stream"],
        events=len(events),
        first=one["first"],
        last=max(about["last"] for about in events),
        code=one["code"],
        detail=one["detail"],
        bytes=sum(about["bytes"] for about in events),
        folder=str(folder),
    )


def _about(file: Path) -> dict[str, Any]:
    """What a document says, as far as it can be read; its name tells stream and number."""
    stream, _, number = file.stem.rpartition("-")
    first = int(number) if number.isdigit() else 0
    event = file.with_suffix(".event")
    out = {"stream": stream, "first": first, "last": first, "bytes": 0}
    out["bytes"] = event.stat().st_size if event.exists() else 0
    try:
        told = orjson.loads(file.read_bytes())
        problem = told["problem"]
        code, detail = str(problem.get("code", "")), str(problem.get("detail", ""))
        return out | {"last": int(told["last"]), "code": code, "detail": detail}
    except (OSError, orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return out | {"code": "", "detail": "its document is damaged"}
