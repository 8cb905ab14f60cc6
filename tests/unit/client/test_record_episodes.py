"""Many episodes of static data at once, over fakes of both sides."""

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tupli.errors import Conflict, InvalidInput, NotFound, TransportError
from tupli.models import Episode, RLTuple
from tupli.storage import delivery
from tupli.storage.api import TupliAPIClient
from tupli.transport import FakeTransport
from tupli.transport.base import Body
from tupli.transport.fake import refusal
from tupli_schemas.events import EpisodeEnded, EpisodeStarted, Event
from tupli_schemas.ids import episode_id, id_text, make_id

BENCHMARK = id_text(make_id(1, 1))


class Visible:
    """A read side that sees a few more of the transport's episodes at each look."""

    def __init__(self, transport: FakeTransport) -> None:
        self.transport = transport
        self.benchmarks = self.looks = 0
        self.asked: list[int] = []
        self.step = 10_000

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        condition = body.get("benchmark_filter") or body["episode_filter"]
        if "benchmarks" in path:
            self.benchmarks += 1
            return {"benchmarks": [{"id": BENCHMARK, "name": "b"}] if condition["value"] == BENCHMARK else []}
        self.looks += 1
        self.asked.append(len(condition["value"]))
        seen = ended(self.transport.events)[: self.looks * self.step]
        return {"episodes": [{"id": one} for one in reversed(seen) if one in condition["value"]]}

    def stream(self, path: str, body: Mapping[str, Any]) -> Any:
        raise NotImplementedError


class Faulty(FakeTransport):
    """Refuses requests with an episode of this seed in its metadata, or all once it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.before_send = self.check
        self.refuse: int | None = None
        self.gone_after: int | None = None
        self.tried = 0

    def send_events(self, body: Body) -> Any:
        self.tried += 1
        if self.gone_after is not None and self.requests >= self.gone_after:
            raise TransportError("gone", retry_after=0.001)
        return super().send_events(body)

    def check(self, events: Sequence[Event]) -> None:
        for index, event in enumerate(events):
            if isinstance(event, EpisodeStarted) and event.metadata == {"n": self.refuse}:
                raise refusal(index=index, detail="not this one")


def ended(events: list[Event]) -> list[str]:
    return [id_text(episode_id(event.stream, 1)) for event in events if isinstance(event, EpisodeEnded)]


@pytest.fixture
def transport() -> Faulty:
    return Faulty()


@pytest.fixture
def storage(transport: Faulty) -> TupliAPIClient:
    out = TupliAPIClient("http://127.0.0.1:9", "")
    out.transport = transport  # type: ignore[assignment]  # the port is the same
    out.query = Visible(transport)  # type: ignore[assignment]  # the port is the same
    return out


def episode(n: int, **members: Any) -> Episode:
    values: dict[str, Any] = {"benchmark_id": BENCHMARK, "metadata": {"n": n}}
    return Episode(**values | {"tuples": [RLTuple([1.0], 0, float(n), terminal=True)]} | members)


def numbers(transport: Faulty) -> list[int]:
    return [event.metadata["n"] for event in transport.events if isinstance(event, EpisodeStarted)]


def test_headers_come_in_the_order_of_the_episodes(storage: TupliAPIClient, transport: Faulty) -> None:
    query: Any = storage.query
    query.step = 7
    headers = storage.record_episodes(episode(n) for n in range(20))
    assert [header.id for header in headers] == ended(transport.events)
    assert numbers(transport) == list(range(20))
    assert (transport.requests, query.benchmarks, query.asked) == (1, 1, [20, 13, 6])
    assert storage.record_episodes([]) == []


def test_a_generator_is_read_as_its_episodes_are_sent(
    storage: TupliAPIClient, transport: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "REQUEST_EPISODES", 4)
    behind = []

    def made() -> Iterator[Episode]:
        for n in range(20):
            behind.append(n - len(numbers(transport)))
            yield episode(n)

    assert len(storage.record_episodes(made())) == 20
    assert max(behind) <= 4
    assert transport.requests == 5


def test_requests_are_bounded_in_bytes(
    storage: TupliAPIClient, transport: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "REQUEST_BYTES", 1)
    storage.record_episodes(episode(n) for n in range(3))
    assert transport.requests == 3


BAD = {
    "no tuples": (episode(3, tuples=[]), "episodes[3].tuples", InvalidInput),
    "ragged rewards": (episode(3, tuples=[RLTuple([1.0], 0, [1, 2]), RLTuple([1.0], 0, [1])]),  # type: ignore[arg-type]  # what a user may give
                       "episodes[3].tuples.reward", InvalidInput),
    "no benchmark": (episode(3, benchmark_id=id_text(make_id(9, 9))), "episodes[3]", NotFound),
    "no episode": ({"tuples": []}, "episodes[3]", InvalidInput),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "place", "kind"), BAD.values(), ids=BAD)
def test_a_bad_episode_is_named_and_those_before_it_stand(
    bad: Any, place: str, kind: type[Exception], storage: TupliAPIClient, transport: Faulty
) -> None:
    with pytest.raises(kind) as caught:
        storage.record_episodes([episode(0), episode(1), episode(2), bad, episode(4)])
    assert getattr(caught.value, "place", "") == place
    assert str(caught.value).count("episodes[3]") == 1
    assert "episodes[0] to episodes[2] are accepted, this one and those behind it are not" in str(
        caught.value
    )
    assert numbers(transport) == [0, 1, 2]


@pytest.mark.parametrize(
    ("index", "told"), [(0, "none is accepted before it"), (1, "episodes[0] is accepted")]
)
def test_one_that_the_server_refuses_is_found_in_its_request(
    index: int, told: str, storage: TupliAPIClient, transport: Faulty
) -> None:
    transport.refuse = index
    with pytest.raises(InvalidInput, match="not this one") as caught:
        storage.record_episodes(episode(n) for n in range(5))
    assert caught.value.place.startswith(f"episodes[{index}]")
    assert caught.value.problem is not None
    assert told in str(caught.value)
    assert numbers(transport) == list(range(index))


def test_a_server_that_goes_away_is_told_with_what_is_certain(
    storage: TupliAPIClient, transport: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "REQUEST_EPISODES", 2)
    transport.gone_after = 1
    with pytest.raises(
        TransportError, match=r"^episodes\[2\]: gone; episodes\[0\] to episodes\[1\] are"
    ) as caught:
        storage.record_episodes(episode(n) for n in range(6))
    assert "whether it and those up to episodes[3] came through is not known, none behind is" in str(
        caught.value
    )
    assert transport.tried == 1 + delivery.SEND_ATTEMPTS
    assert numbers(transport) == [0, 1]


def test_an_error_of_the_iterable_goes_through_and_what_came_stands(
    storage: TupliAPIClient, transport: Faulty
) -> None:
    def made() -> Iterator[Episode]:
        yield episode(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.record_episodes(made())
    assert numbers(transport) == [0]


def test_an_error_of_the_iterable_matters_more_than_the_servers(
    storage: TupliAPIClient, transport: Faulty
) -> None:
    def made() -> Iterator[Episode]:
        yield episode(0)
        raise ZeroDivisionError

    transport.gone_after = 0
    with pytest.raises(ZeroDivisionError) as caught:
        storage.record_episodes(made())
    (note,) = caught.value.__notes__
    assert "could not be recorded: episodes[0]: gone" in note


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_nothing_is_sent_after_ctrl_c(
    kind: type[BaseException], storage: TupliAPIClient, transport: Faulty
) -> None:
    def made() -> Iterator[Episode]:
        yield episode(0)
        raise kind

    with pytest.raises(kind):
        storage.record_episodes(made())
    assert (transport.tried, transport.events) == (0, [])


def test_a_server_makes_nobody_wait_for_long(transport: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: object) -> None:
        raise TransportError("busy", retry_after=waits.pop()) if waits else SystemExit

    waits, slept = [None, 7.0, 86_400.0], list[float]()
    transport.before_send = busy
    monkeypatch.setattr(delivery, "time", SimpleNamespace(sleep=slept.append))
    with pytest.raises(SystemExit):
        delivery.send(transport, b"")
    assert slept == [60.0, 7.0, 0.4]


def test_what_stays_out_of_sight_is_told(
    storage: TupliAPIClient, transport: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    query: Any = storage.query
    query.step = 0
    monkeypatch.setattr(delivery, "VISIBLE_SECONDS", 0.05)
    with pytest.raises(TransportError, match="and 2 more was accepted and is not visible yet"):
        storage.record_episodes(episode(n) for n in range(3))


def test_a_conflict_stays_a_conflict() -> None:
    error = delivery.at_index(2, Conflict("taken", place="name"), "told")
    assert (type(error), str(error)) == (Conflict, "episodes[2].name: taken; told")
