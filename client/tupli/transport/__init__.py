"""Ways to a Tupli server."""

from tupli.transport.base import SendResult, Transport
from tupli.transport.fake import FakeTransport
from tupli.transport.http import HttpTransport

__all__ = ["FakeTransport", "HttpTransport", "SendResult", "Transport"]
