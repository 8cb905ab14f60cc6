"""The catalogue: verdicts and rows of commands, replayed or not."""

from typing import Any

import pytest

from support.ingest_streams import BENCHMARK, OTHER_SUBJECT
from tupli_ingest.core.catalog import Catalog, Erasure, Outcome, Verdict, check_command
from tupli_schemas.catalog import Command, CreateBenchmark, Delete, Publish, Unpublish, encode_command
from tupli_schemas.errors import ContractError
from tupli_schemas.ids import LOCAL_SUBJECT, id_text, make_id
from tupli_schemas.records import Envelope, Position, Record

SECOND = make_id(1_600_000_000_000, 5)
EPISODE = make_id(1_600_000_000_000, 6)[:12] + b"\0\0\0\1"
SPACES = {"observation_space": {"type": "Box"}, "action_space": {"type": "Discrete", "n": 2}}


class Told:
    """A catalogue and the records that were told to it."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.records: list[Record] = []
        self.outcomes: list[Outcome] = []
        self._count = 0

    def say(self, command: Command | bytes, subject: bytes = LOCAL_SUBJECT) -> Outcome:
        payload = command if isinstance(command, bytes) else encode_command(command)
        envelope = Envelope(event="c", version=1, subject=subject, received_at=1_000 + len(self.records))
        self.records.append(Record(Position(1, 0, len(self.records)), subject, envelope, payload))
        self.outcomes.append(self.catalog.apply(self.records[-1]))
        return self.outcomes[-1]

    def verdict(self, command: Command, subject: bytes = LOCAL_SUBJECT) -> Verdict:
        verdict = self.say(command, subject).verdict
        assert verdict is not None
        return verdict

    def create(self, subject: bytes = LOCAL_SUBJECT, **changes: Any) -> Verdict:
        self._count += 1
        members: dict[str, Any] = {
            "command_id": f"c{self._count}",
            "benchmark": BENCHMARK,
            "name": "cartpole",
        }
        return self.verdict(CreateBenchmark(**members | {"descriptor": SPACES} | changes), subject)


def test_a_benchmark_is_created_once() -> None:
    told = Told()
    first = told.create(extra={"k": 2})
    again = told.create(benchmark=SECOND)
    assert (first.status, first.result["created"], first.result["id"]) == ("done", True, id_text(BENCHMARK))
    assert again.status == "done"
    assert again.result == first.result | {"created": False}
    ((table, row),) = told.outcomes[0].rows
    assert (table, row["id"], row["version"], row["extra_num"]) == ("benchmarks", BENCHMARK, 1, {"k": 2.0})
    assert told.outcomes[1].rows == ()


@pytest.mark.parametrize(
    ("spaces", "detail", "place"),
    [
        ({"observation_space": 1}, "another observation_space", "descriptor.observation_space"),
        ({"action_space": 1}, "another action_space", "descriptor.action_space"),
        (
            {"observation_space": 1, "action_space": 1},
            "another observation_space and another action_space",
            "descriptor.observation_space",
        ),
    ],
)
def test_other_spaces_under_the_same_name_are_a_conflict(
    spaces: dict[str, Any], detail: str, place: str
) -> None:
    told = Told()
    told.create()
    verdict = told.create(descriptor=SPACES | spaces)
    assert (verdict.status, verdict.place) == ("conflict", place)
    assert verdict.detail == f"you have a benchmark 'cartpole' with {detail}"


def test_names_belong_to_their_owner_and_are_exact() -> None:
    told = Told()
    told.create()
    other = told.create(OTHER_SUBJECT, benchmark=SECOND)
    cased = told.create(name="CartPole", benchmark=make_id(1, 1))
    assert (other.result["created"], cased.result["created"]) == (True, True)
    found = told.catalog.benchmark_named(OTHER_SUBJECT, "cartpole")
    assert found is not None
    assert found.id == SECOND


def test_an_id_is_used_once() -> None:
    told = Told()
    told.create()
    verdict = told.create(OTHER_SUBJECT)
    assert (verdict.status, verdict.place) == ("conflict", "benchmark")


@pytest.mark.parametrize("name", ["-a", ".a", "a b", "ä", "a/b", "x" * 129, "a\n"])
def test_names_that_are_none(name: str) -> None:
    verdict = Told().create(name=name)
    assert (verdict.status, verdict.place) == ("invalid", "name")
    with pytest.raises(ContractError) as caught:
        check_command(encode_command(CreateBenchmark(command_id="c", benchmark=BENCHMARK, name=name)))
    assert caught.value.place == "name"


@pytest.mark.parametrize("name", ["a", "A.b_c@d-e", "9", "x" * 128])
def test_names(name: str) -> None:
    assert Told().create(name=name).status == "done"


def test_the_same_command_has_the_same_verdict_and_no_second_effect() -> None:
    told = Told()
    first = told.create(command_id="k")
    again = told.create(command_id="k", descriptor={})
    assert again is first
    assert told.outcomes[1].rows == ()
    assert told.catalog.verdict(LOCAL_SUBJECT, "k") is first
    assert told.catalog.verdict(OTHER_SUBJECT, "k") is None
    assert told.create(OTHER_SUBJECT, command_id="k", benchmark=SECOND).result["created"]


def test_deleting_frees_the_name_and_is_idempotent() -> None:
    told = Told()
    told.create()
    outcome = told.say(Delete(command_id="d1", kind="benchmark", ids=(BENCHMARK,)))
    assert outcome.erasures == (Erasure("benchmark", BENCHMARK, LOCAL_SUBJECT),)
    assert outcome.rows[0] == (
        "deletions",
        {
            "kind": "benchmark",
            "id": BENCHMARK,
            "subject": LOCAL_SUBJECT,
            "deleted_at": 1_001_000_000,
            "version": 2,
        },
    )
    again = told.say(Delete(command_id="d2", kind="benchmark", ids=(BENCHMARK,)))
    assert again.verdict is not None
    assert (again.verdict.status, again.verdict.result, again.rows) == ("done", {"deleted": 0}, ())
    assert told.catalog.benchmark(BENCHMARK) is None
    assert told.create(benchmark=SECOND, descriptor={}).result["created"]
    assert told.catalog.benchmark(BENCHMARK) is None
    assert told.create(name="other").status == "conflict"
    assert told.catalog.erasures() == [Erasure("benchmark", BENCHMARK, LOCAL_SUBJECT)]


@pytest.mark.parametrize("command", [Publish, Unpublish, Delete])
def test_a_benchmark_that_is_not_mine_is_unknown(command: type[Publish | Unpublish | Delete]) -> None:
    told = Told()
    told.create(OTHER_SUBJECT)
    for wanted in (BENCHMARK, SECOND):
        verdict = told.verdict(command(command_id=id_text(wanted), kind="benchmark", ids=(wanted,)))
        assert (verdict.status, verdict.place) == ("unknown_benchmark", "ids[0]")


def test_one_unknown_benchmark_refuses_the_whole_command() -> None:
    told = Told()
    told.create()
    outcome = told.say(Delete(command_id="d", kind="benchmark", ids=(BENCHMARK, SECOND)))
    assert outcome.verdict is not None
    assert (outcome.verdict.status, outcome.verdict.place, outcome.rows) == (
        "unknown_benchmark",
        "ids[1]",
        (),
    )
    assert told.catalog.benchmark(BENCHMARK) is not None


def test_publishing_episodes_is_written_down_with_who_said_it() -> None:
    told = Told()
    published = told.say(Publish(command_id="p", kind="episode", ids=(EPISODE, EPISODE), scope="lab"))
    facts = {"kind": "episode", "id": EPISODE, "scope": "lab", "subject": LOCAL_SUBJECT}
    assert published.rows == (("publications", facts | {"published": 1, "version": 1}),)
    unpublished = told.say(Unpublish(command_id="u", kind="episode", ids=(EPISODE,), scope="lab"))
    assert unpublished.rows == (("publications", facts | {"published": 0, "version": 2}),)


def test_a_deleted_episode_cannot_be_published() -> None:
    told = Told()
    told.verdict(Delete(command_id="d", kind="episode", ids=(EPISODE,)))
    assert told.verdict(Publish(command_id="p", kind="episode", ids=(EPISODE,))).status == "not_found"


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"kind": "user", "ids": (EPISODE,)}, "kind"),
        ({"kind": "episode", "ids": ()}, "ids"),
        ({"kind": "episode", "ids": (EPISODE,), "scope": "no scope"}, "scope"),
    ],
)
def test_commands_that_mean_nothing_are_invalid(members: dict[str, Any], place: str) -> None:
    verdict = Told().verdict(Publish(command_id="p", **members))
    assert (verdict.status, verdict.place) == ("invalid", place)


def test_what_is_no_command_is_a_dead_letter() -> None:
    outcome = Told().say(b"rubbish")
    assert outcome.verdict is None
    assert outcome.error


def test_replaying_the_topic_gives_the_same() -> None:
    told = Told()
    told.create()
    told.create(benchmark=SECOND, descriptor={})
    told.verdict(Publish(command_id="p", kind="benchmark", ids=(BENCHMARK,)))
    told.verdict(Delete(command_id="d", kind="benchmark", ids=(BENCHMARK,)))
    told.create(benchmark=SECOND, descriptor={})
    replayed = Catalog()
    assert [replayed.apply(record) for record in told.records] == told.outcomes


def test_a_benchmark_tells_when_it_was_created_as_its_header_does() -> None:
    told = Told()
    assert told.create().result["created_at"] == "1970-01-01T00:00:01.000000+00:00"
    assert told.outcomes[0].rows[0][1]["created_at"] == 1_000_000_000
