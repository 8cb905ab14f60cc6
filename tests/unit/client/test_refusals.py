"""What an answer that is no success means: a problem document of ours by its words, anything else with care."""

from typing import Any

import orjson
import pytest

from tupli.errors import AuthError, Conflict, InvalidInput, NotFound, TransportError
from tupli.transport.refusals import refusal_of
from tupli_schemas.problems import Problem


class Answer:
    """An `HttpAnswer` from memory."""

    def __init__(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.status, self._body, self._headers = status, body, headers

    def header(self, name: str) -> str:
        return self._headers.get(name.replace("-", "_"), "")

    def read(self) -> bytes:
        return self._body

    def body(self) -> Any:
        raise NotImplementedError


class Broken(Answer):
    def read(self) -> bytes:
        raise TransportError("cut")


def ours(code: str, **members: Any) -> Answer:
    problem = Problem(code, "told so", "events[3]", members=members)
    return Answer(problem.status, orjson.dumps(problem.to_json()))


@pytest.mark.parametrize("by_status", [True, False])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_event", InvalidInput),
        ("not_found", NotFound),
        ("conflict", Conflict),
        ("unavailable", TransportError),
        ("storage_full", TransportError),
        ("too_many_requests", TransportError),
    ],
)
def test_a_problem_document_says_what_it_is(code: str, kind: type, by_status: bool) -> None:  # noqa: FBT001 -- a parameter
    error = refusal_of(ours(code, index=3), "http://x", by_status=by_status)
    assert type(error) is kind
    assert "told so" in str(error)
    assert error.problem is not None
    assert (error.problem.code, error.problem.members) == (code, {"index": 3})


FOREIGN = (
    b"",
    b"<html>not here</html>",
    b"[1]",
    b"null",
    b'{"detail": "Not Found"}',
    b'{"code": "not_found", "message": "no route"}',
    b'{"code": 404}',
    b'{"code": []}',
)


@pytest.mark.parametrize("body", FOREIGN)
@pytest.mark.parametrize("status", [302, 400, 401, 404, 409, 413, 502])
def test_a_recorder_gives_nothing_up_for_a_proxys_word(status: int, body: bytes) -> None:
    error = refusal_of(Answer(status, body, retry_after="7"), "http://x", by_status=False)
    assert isinstance(error, TransportError)
    assert (error.retry_after, error.problem) == (7.0, None)
    assert f"http://x answered {status}" in str(error)


@pytest.mark.parametrize("body", FOREIGN)
@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (404, NotFound), (409, Conflict), (413, InvalidInput)]
)
def test_who_reads_takes_the_status(status: int, kind: type, body: bytes) -> None:
    assert type(refusal_of(Answer(status, body), "http://x", by_status=True)) is kind


@pytest.mark.parametrize(("after", "seconds"), [("3", 3.0), ("", None), ("Wed, 21 Oct 2026", None)])
def test_when_to_try_again(after: str, seconds: float | None) -> None:
    problem = orjson.dumps(Problem("unavailable", "not now").to_json())
    error = refusal_of(Answer(503, problem, retry_after=after), "http://x", by_status=False)
    assert isinstance(error, TransportError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("by_status", [True, False])
def test_a_refusal_that_breaks_off_is_tried_again(by_status: bool) -> None:  # noqa: FBT001 -- a parameter
    assert isinstance(refusal_of(Broken(500), "http://x", by_status=by_status), TransportError)
