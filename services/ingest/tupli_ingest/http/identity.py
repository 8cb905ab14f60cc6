"""Who is calling. Before accounts exist everybody is the local subject."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from tupli_schemas.ids import LOCAL_SUBJECT


@dataclass(frozen=True, slots=True)
class Caller:
    """The subject of a request and the program that sent it."""

    subject: bytes
    client: str = ""


Identify = Callable[[Request], Caller]


def local_caller(request: Request) -> Caller:
    """The local subject, with the program's name cut to 200 characters."""
    return Caller(LOCAL_SUBJECT, request.headers.get("user-agent", "")[:200])
