"""What an answer that is no success means to the caller."""

from typing import Any, Final

import orjson

from tupli.errors import TransportError, TupliError, error_of
from tupli.transport.connections import HttpAnswer
from tupli_schemas.problems import Problem

OURS: Final = "urn:tupli:problem:"


def refusal_of(answer: HttpAnswer, address: str, *, by_status: bool) -> TupliError:
    """The error of a refused request.

    Args:
        answer: It, its body not yet read.
        address: Whom it came from, for people.
        by_status: What to make of an answer without a problem document of ours, as a proxy on the way gives it: the
            status decides, or it is a `TransportError`. A recorder asks for the latter: nothing that was recorded is
            given up for a proxy's word.
    """
    document = _document_of(answer)
    after = answer.header("retry-after")
    seconds = float(after) if after.isdigit() else None
    told = f"{address} answered {answer.status} without a problem document"
    if not by_status and not str(document.get("type", "")).startswith(OURS):
        return TransportError(told, retry_after=seconds)
    problem = Problem.from_json({"detail": told} | document)
    return error_of(problem, answer.status, retry_after=seconds)


def _document_of(answer: HttpAnswer) -> dict[str, Any]:
    try:
        document = orjson.loads(answer.read())
    except (orjson.JSONDecodeError, TransportError):
        return {}
    if not isinstance(document, dict) or not isinstance(document.get("code", ""), str):
        return {}
    return document
