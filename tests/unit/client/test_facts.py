"""What is told of an episode is cut to what its event has room for."""

from typing import Any

import orjson

from tupli.recording.config import RecordingConfig
from tupli.recording.facts import metadata_payload, start_payload

MIB = 1 << 20
NOWHERE: Any = None


class Told:
    """Keeps what it is told, once for each key."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def warn(self, message: str, *, once: str) -> None:
        self.keys.append(once.removeprefix("too large "))


def started(told: Told, *, environment: int = 0, **given: Any) -> dict[str, Any]:
    metadata = given.pop("metadata", {})
    config = RecordingConfig(
        transport=NOWHERE, directory=NOWHERE, metadata=metadata, environment={"kwargs": "x" * environment}
    )
    facts: dict[str, Any] = {"seed": None, "options": None, "reset_info": b""} | given
    payload: dict[str, Any] = orjson.loads(start_payload(config, None, **facts, warn=told.warn))
    return payload


def test_what_fits_is_kept_and_nothing_is_told() -> None:
    told = Told()
    kept = started(told, seed=3, options={"level": 2}, reset_info=b'{"a":1}', metadata={"site": "lab"})
    assert kept == {"seed": 3, "options": {"level": 2}, "reset_info": {"a": 1}, "metadata": {"site": "lab"}}
    assert told.keys == []


def test_the_environment_takes_room_of_the_start_too() -> None:
    told = Told()
    options = "x" * 9 * MIB
    assert started(told, options=options)["options"] == options
    assert started(told, options=options, environment=3 * MIB) == {}
    assert told.keys == ["options"]


def test_the_largest_facts_go_first() -> None:
    told = Told()
    metadata = {name: "x" * size * MIB for name, size in (("a", 2), ("b", 7), ("c", 6), ("d", 1))}
    assert list(orjson.loads(metadata_payload(metadata, told.warn, reason="why"))["metadata"]) == [
        "a",
        "c",
        "d",
    ]
    assert told.keys == ["metadata 'b'"]
    kept = started(
        told, seed=3, options="x" * 5 * MIB, reset_info=b'"' + b"x" * 6 * MIB + b'"', metadata=metadata
    )
    assert {name: list(value) if name == "metadata" else 0 for name, value in kept.items()} == {
        "seed": 0,
        "options": 0,
        "metadata": ["a", "d"],
    }


def test_a_reset_info_has_the_limit_of_an_info() -> None:
    told = Told()
    assert started(told, reset_info=b'"' + b"x" * 9 * MIB + b'"') == {}
    assert told.keys == ["reset info"]
