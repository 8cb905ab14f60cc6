"""Records that went straight to Kafka, judged: what the gateway would have made of them, or why they are none.

No gateway has seen them, so nothing that they say of themselves is believed. Whose they are is in the grant, when
they came is the brokers' word, and their signature says that both belong to the event. Everything that the gateway
refuses in one event is refused here as well. The judgement depends on the record, the time it was appended and the
keys of grants alone: the same at every rebuild.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tupli_ingest.core.decoding import Checked, Item, decode_record
from tupli_ingest.core.errors import GrantRefused
from tupli_ingest.core.validation import check_alone
from tupli_schemas.direct import Sealed, is_direct_partition, place_of
from tupli_schemas.errors import ContractError
from tupli_schemas.events import EpisodeStarted, Event
from tupli_schemas.ids import ID_BYTES, id_text, is_direct
from tupli_schemas.records import Envelope, Record

CLIENT = "direct"
_UNFORESEEN: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What no check foresaw: a sender must not be able to end a worker by it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified grant allows: records of a subject, in a benchmark, of one stream or of any (None).

    `is_signature` says whether bytes are the confirmation key's signature of a message.
    """

    subject: bytes
    benchmark: bytes
    stream: bytes | None
    is_signature: Callable[[bytes, bytes], bool]


class Grants(Protocol):
    """Verifies grants; used by one thread at a time."""

    def verified(self, token: bytes, appended_ms: int) -> Grant:
        """The grant of a token, as it was when the brokers appended the record (Unix milliseconds).

        Raises:
            GrantRefused: It did not allow anything then.
        """
        ...


Decode = Callable[[Record], Item]


class DirectDecoder:
    """`decode_record` for records of both topics.

    `partition_of` gives the partition that Kafka's clients choose for a key: a record that its sender put elsewhere
    would be folded apart from its stream.
    """

    def __init__(self, grants: Grants, partition_of: Callable[[bytes], int]) -> None:
        self._grants = grants
        self._partition_of = partition_of

    def __call__(self, record: Record) -> Item:
        """The item of a record; never raises for what a record holds."""
        if not is_direct_partition(record.position.partition):
            return decode_record(record)
        try:
            return self._judged(record)
        except _Refused as refused:
            return _refusal(record, refused.code, str(refused))
        except _UNFORESEEN:
            return _refusal(record, "invalid_event", "cannot be checked: its parts do not go together")

    def _judged(self, record: Record) -> Item:
        appended_ms = record.envelope.received_at
        if appended_ms < 0:
            raise _Refused("grant_refused", "the topic's timestamps are not the brokers' (LogAppendTime)")
        try:
            sealed = Sealed.from_bytes(record.payload)
            grant = self._grants.verified(sealed.grant, appended_ms)
        except ContractError as error:
            raise _Refused("no_grant", error.reason) from error
        except GrantRefused as error:
            raise _Refused("grant_refused", str(error)) from error
        _check_key(record.key)
        if not grant.is_signature(sealed.signature, sealed.signed_by(record.key)):
            raise _Refused("bad_signature", "the signature is not that of the grant's key")
        self._check_partition(record)
        checked = _event_of(sealed.event)
        _check_granted(record.key, checked.event, grant)
        envelope = Envelope(
            event=checked.event.NAME,
            version=checked.event.VERSION,
            subject=grant.subject,
            received_at=appended_ms,
            client=CLIENT,
        )
        judged = Record(record.position, record.key, envelope, sealed.event)
        return Item(judged, checked.event, checked.rows)

    def _check_partition(self, record: Record) -> None:
        _, partition = place_of(record.position.partition)
        if (right := self._partition_of(record.key)) != partition:
            raise _Refused("not_direct", f"records of its stream belong into partition {right}")


class _Refused(Exception):
    """The record becomes a dead letter of this code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _refusal(record: Record, code: str, told: str) -> Item:
    refusal = replace(record, error=told, code=code)
    return Item(refusal, error=told)


def _check_key(key: bytes) -> None:
    if len(key) != ID_BYTES or not is_direct(key):
        raise _Refused("not_direct", "its key is no id of a stream that goes straight to Kafka")


def _event_of(data: bytes) -> Checked:
    try:
        return check_alone(data)
    except ContractError as error:
        raise _Refused("invalid_event", str(error)) from error


def _check_granted(key: bytes, event: Event, grant: Grant) -> None:
    if event.stream != key:
        raise _Refused("invalid_event", "stream: is not the record's key")
    if grant.stream is not None and grant.stream != key:
        raise _Refused("not_granted", f"the grant is for the stream {id_text(grant.stream)}")
    benchmark = event.benchmark.id if isinstance(event, EpisodeStarted) else event.benchmark_id
    if benchmark != grant.benchmark:
        named = id_text(benchmark) if benchmark else "none"
        raise _Refused("not_granted", f"it names the benchmark {named}, the grant {id_text(grant.benchmark)}")
