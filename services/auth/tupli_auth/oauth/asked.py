"""What was asked for and what is answered, between HTTP and Authlib."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request

MAX_VALUE: Final = 4_096
"""Characters of a parameter."""


class NotAsked(ValueError):
    """Parameters that mean nothing: one is there twice, too long, or holds what is no text (RFC 6749 section 3.1)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its parameters each once, those without a value left out."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """A response, before HTTP makes one of it. `location` is where it redirects to; Authlib's extensions change it."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def location(self) -> str | None:
        """Where it redirects to."""
        return self.headers.get("Location")

    @location.setter
    def location(self, value: str) -> None:
        self.headers["Location"] = value


def parameters(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters by name.

    Raises:
        NotAsked: One is there twice, too long, or holds a control character.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise NotAsked("a parameter is there twice")
        if len(name) > 128 or len(value) > MAX_VALUE:
            raise NotAsked("a parameter is too long")
        if not (name + value).isprintable():
            raise NotAsked("a parameter holds control characters")
        found[name] = value
    return {name: value for name, value in found.items() if value}


class _Payload(OAuth2Payload):
    def __init__(self, asked: Asked) -> None:
        self._data = {**asked.query, **asked.form}

    @property
    def data(self) -> dict[str, str]:
        return self._data

    @property
    def datalist(self) -> dict[str, list[Any]]:
        return defaultdict(list, {name: [value] for name, value in self._data.items()})


class Request(OAuth2Request):
    """A request as Authlib takes it. That it came by TLS is the issuer's to see to (`check_issuer`)."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.method, f"https://authorization.server{asked.path}", headers=asked.headers)
        self.asked = asked
        self.payload = _Payload(asked)

    @property
    def args(self) -> dict[str, str | None]:
        """Parameters of the address."""
        return dict(self.asked.query)

    @property
    def form(self) -> dict[str, str]:
        """Parameters of the body."""
        return dict(self.asked.form)
