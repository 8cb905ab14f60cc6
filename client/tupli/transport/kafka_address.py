"""Where Kafka is: `kafka://host:port[,host:port][?topic_prefix=...]`."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tupli.errors import InvalidInput
from tupli_schemas.addresses import brokers_of
from tupli_schemas.errors import ContractError

SCHEME: Final = "kafka"
_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{0,64}")


def is_kafka(address: object) -> bool:
    """Whether an address is one of Kafka."""
    return isinstance(address, str) and address.lower().startswith(f"{SCHEME}://")


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Brokers, and what stands before the names of topics."""

    brokers: tuple[str, ...]
    topic_prefix: str = ""

    def __str__(self) -> str:
        more = f"?topic_prefix={self.topic_prefix}" if self.topic_prefix else ""
        return f"{SCHEME}://{','.join(self.brokers)}{more}"

    @staticmethod
    def parse(text: str, environment: Mapping[str, str] | None = None) -> "KafkaAddress":
        """The address of `kafka://host:port[,host:port][?topic_prefix=...]`, else with `TUPLI_KAFKA_TOPIC_PREFIX`.

        Raises:
            InvalidInput: It is none.
        """
        env = os.environ if environment is None else environment
        parts = urlsplit(text)
        given = parse_qsl(parts.query, keep_blank_values=True)
        told = f"{text!r} is not kafka://host:port[,host:port][?topic_prefix=...]"
        if parts.scheme != SCHEME or parts.path not in ("", "/") or parts.fragment:
            raise InvalidInput(told, place="transport")
        try:
            brokers = brokers_of(parts.netloc)
        except ContractError as error:
            raise InvalidInput(f"{told}: {error.reason}", place="transport") from error
        if len(given) > 1:
            raise InvalidInput(told, place="transport")
        if given and given[0][0] != "topic_prefix":
            raise InvalidInput(told, place="transport")
        prefix = given[0][1] if given else env.get("TUPLI_KAFKA_TOPIC_PREFIX", "")
        if not _PREFIX.fullmatch(prefix):
            raise InvalidInput(f"{prefix!r} is no prefix of topics", place="topic_prefix")
        return KafkaAddress(brokers, prefix)
