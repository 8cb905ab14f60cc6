"""How `tupli dead-letters` tells what the server answers."""

from typing import Any

from tupli.cli.dead_letters import following, lines_of, more_of, with_place

LETTER: dict[str, Any] = {
    "index": 4,
    "topic": "tupli.episodes.v1",
    "position": {"generation": 1, "partition": 3, "offset": 17},
    "code": "undecodable",
    "reason": "the head is cut",
}


def test_a_place_is_one_word() -> None:
    assert with_place(LETTER)["place"] == "tupli.episodes.v1/3@17"


def test_there_is_more_until_the_newest_is_shown() -> None:
    page: dict[str, Any] = {"letters": [LETTER], "after": 4, "newest": 9}
    assert more_of(page) == "more: tupli dead-letters list --after 4"
    assert more_of(page | {"newest": 4}) == more_of({"letters": [], "after": None, "newest": None}) == ""


def test_members_and_bytes_stand_behind_the_letter() -> None:
    record = {"size": 3, "error": "too short", "hex": "ff00"}
    told = {line["name"]: line["value"] for line in lines_of(LETTER | {"record": record})}
    assert (told["index"], told["hex"], told["size"], told["error"]) == ("4", "ff00", "3", "too short")
    whole = {"event": "EpisodeEnded", "members": {"first": 2}, "envelope": {"subject": "me"}}
    told = {line["name"]: line["value"] for line in lines_of(LETTER | {"record": whole})}
    assert (told["event"], told["members.first"], told["envelope.subject"]) == ("EpisodeEnded", "2", "me")
    assert "does not have it" in {line["name"]: line["value"] for line in lines_of(LETTER)}["record"]


def test_a_replay_goes_on_where_the_server_stopped_and_never_past_where_it_began() -> None:
    asked = {"code": "x"}
    goes_on, _ = following(asked, {"after": 999, "until": 2_000}, [])
    assert goes_on == {"code": "x", "after": 999, "until": 2_000}
    assert following(goes_on, {"after": None, "until": 2_000}, [])[0] is None
    many = list(range(1_001))
    goes_on, rest = following({"indexes": many[:1_000]}, {}, many)
    assert goes_on == {"indexes": [1_000]}
    assert following(goes_on, {}, rest) == (None, [])
