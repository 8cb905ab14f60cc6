"""Which way a user means: an http address, one of Kafka's, or a transport that is one already."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, cast

from tupli.errors import InvalidInput
from tupli.transport.base import Transport
from tupli.transport.http import HttpTransport
from tupli.transport.kafka_address import is_kafka

if TYPE_CHECKING:
    from tupli.transport.kafka import KafkaTransport

GrantPath = str | os.PathLike[str]


def chosen_transport(
    given: Transport | str | None = None, *, url: str | None = None, grant: GrantPath | None = None
) -> Transport:
    """The transport that `given` is, or the address in it or in `url`.

    Raises:
        InvalidInput: The address is none; two ways are given; a grant is given for another way than Kafka.
        TupliError: What it takes to go that way is not installed.
    """
    if given is not None and url is not None:
        raise InvalidInput("give a url or a transport, not both", place="url")
    address = given if isinstance(given, str) else url
    if address is not None and is_kafka(address):
        return kafka_transport(address, grant)
    if isinstance(given, str):
        raise InvalidInput(
            f"{given!r} is not kafka://host:port; an http address goes as url=", place="transport"
        )
    if grant is not None:
        raise InvalidInput("a grant is for a way of kafka://host:port", place="grant")
    return given or HttpTransport(url)


def require_granted(transport: Transport, benchmark: str, *, name: str) -> None:
    """See to it that the grant of a way straight to Kafka is for a benchmark, which is told by its id.

    Raises:
        InvalidInput: It is not, or the benchmark is told by its `name`, which only a gateway could look up.
    """
    granted = cast("KafkaTransport", transport).benchmark
    if name:
        told = f"straight to Kafka a benchmark goes by its id: it must exist before, and the grant is for {granted}"
        raise InvalidInput(told, place="benchmark")
    if benchmark != granted:
        raise InvalidInput(f"the grant is for {granted}, not for {benchmark}", place="benchmark")


def kafka_transport(address: str, grant: GrantPath | None = None) -> "KafkaTransport":
    """A transport straight to Kafka; only here is imported what that takes."""
    made: KafkaTransport = import_module("tupli.transport.kafka").KafkaTransport(address, grant)
    return made
