"""Ways to a Tupli server."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tupli.transport.base import SendResult, Transport
from tupli.transport.http import HttpTransport

if TYPE_CHECKING:
    from tupli.transport.fake import FakeTransport

__all__ = ["FakeTransport", "HttpTransport", "SendResult", "Transport"]


if not TYPE_CHECKING:  # as in `tupli`: the fake decodes events, with Arrow

    def __getattr__(name: str) -> Any:
        if name != "FakeTransport":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module("tupli.transport.fake").FakeTransport
