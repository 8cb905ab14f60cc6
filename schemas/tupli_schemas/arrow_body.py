"""Untrusted Arrow: a body that must hold one record batch of a known schema, and nothing else.

The schema is compared before any column is read, compression is refused before anything could be inflated
(1.9 kB can become 50 MB), and `validate(full=True)` stands between the bytes and everything that trusts
offsets.
"""

import struct
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tupli_schemas.errors import EventError

END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""Of an Arrow IPC stream: a continuation marker and a length of 0."""
_COMPRESSION_FIELD: Final = 3
"""`compression` in Arrow's `RecordBatch` table (Message.fbs)."""
_NODES_FIELD: Final = 1
"""`nodes` there: a vector of (length, null count), one for each column and each child of one."""
_HEADER_FIELD: Final = 2
"""`header` in Arrow's `Message` table."""


def read_one_batch(
    body: bytes, schema: pa.Schema, *, place: str, schema_message: bytes = b""
) -> pa.RecordBatch:
    """The record batch of an Arrow stream that holds exactly one.

    `schema_message` is what this version of Arrow begins a stream of the schema with, if it is known: of a
    body that begins with it the schema need not be read, which is half of the work for a few rows.

    Raises:
        EventError: The bytes are cut or damaged, hold something else or something more, are compressed, or
            nulls.
    """
    try:
        batch = _read(body, schema, place, schema_message)
        batch.validate(full=True)
    except EventError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        raise EventError(f"not a valid Arrow stream ({type(error).__name__})", place=place) from error
    return batch


def require_bits(batch: pa.RecordBatch, names: list[str], *, place: str) -> None:
    """That these columns of bytes hold nothing but 0 and 1.

    Raises:
        EventError: One holds something else.
    """
    for name in names:
        column = batch.column(name)
        flat = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
        if len(flat) and pc.max(flat).as_py() > 1:
            raise EventError("holds something else than 0 and 1", place=f"{place}.{name}")


def _read(body: bytes, schema: pa.Schema, place: str, schema_message: bytes) -> pa.RecordBatch:
    source = pa.BufferReader(body)
    is_usual = schema_message and body.startswith(schema_message)
    message = _message_after(source, len(schema_message)) if is_usual else None
    if message is None:
        source = pa.BufferReader(body)
        message = _message_after_schema(source, schema, place)
    if source.tell() != len(body) or not body.endswith(END_OF_STREAM):
        raise EventError("the Arrow stream does not end where the body ends", place=place)
    compressed, nulls = _look_into(message.metadata.to_pybytes())
    if compressed:
        raise EventError("the Arrow body is compressed", place=place)
    if nulls:
        raise EventError("nulls where every value is required", place=place)
    return pa.ipc.read_record_batch(message, schema)


def _message_after(source: pa.BufferReader, at: int) -> pa.Message | None:
    """The record batch at this place.

    None if there is anything else, of which a full look says what is wrong.
    """
    source.seek(at)
    try:
        message = pa.ipc.read_message(source)
    except (pa.ArrowException, OSError, EOFError):
        return None
    if message.type != "record batch" or source.read(len(END_OF_STREAM) + 1) != END_OF_STREAM:
        return None
    return message


def _message_after_schema(source: pa.BufferReader, schema: pa.Schema, place: str) -> pa.Message:
    messages = _messages(source, place)
    if [message.type for message in messages] != ["schema", "record batch"]:
        raise EventError("not exactly one record batch", place=place)
    if not pa.ipc.read_schema(messages[0]).equals(schema, check_metadata=True):
        raise EventError("the Arrow schema is not that of the layout", place=place)
    return messages[1]


def _messages(source: pa.BufferReader, place: str) -> list[pa.Message]:
    """At most three messages: more than enough to know that there are too many."""
    reader = pa.ipc.MessageReader.open_stream(source)
    found: list[pa.Message] = []
    for message in reader:
        found.append(message)
        if len(found) > 2:
            raise EventError("not exactly one record batch", place=place)
    return found


def _look_into(metadata: bytes) -> tuple[bool, bool]:
    """Whether a `Message` flatbuffer holds a `RecordBatch` with compression, and whether with nulls.

    With nulls means that a column, or the elements of one, declare some, or an unknown number of them. What
    declares none has none: Arrow does not look at its validity bits then. pyarrow has no question for either.
    Arrow has verified the flatbuffer when it read the message; offsets outside are refused here all the same.
    """
    try:
        header = _field(metadata, _u32(metadata, 0), _HEADER_FIELD)
        if header is None:
            return False, False
        batch = header + _u32(metadata, header)
        compressed = _field(metadata, batch, _COMPRESSION_FIELD) is not None
        at = _field(metadata, batch, _NODES_FIELD)
        if at is None:
            return compressed, False
        at += _u32(metadata, at)
        count = _u32(metadata, at)
        nodes = struct.unpack(f"<{2 * count}q", _bytes(metadata, at + 4, 16 * count))
    except IndexError as error:
        raise EventError("the header of the record batch is damaged") from error
    return compressed, any(nodes[1::2])


def _field(data: bytes, table: int, index: int) -> int | None:
    """Where a table's field is, or None when the table does not have it."""
    vtable = table - int.from_bytes(_bytes(data, table, 4), "little", signed=True)
    slot = 4 + 2 * index
    if slot >= int.from_bytes(_bytes(data, vtable, 2), "little"):
        return None
    offset = int.from_bytes(_bytes(data, vtable + slot, 2), "little")
    return table + offset if offset else None


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(_bytes(data, at, 4), "little")


def _bytes(data: bytes, at: int, count: int) -> bytes:
    if not 0 <= at <= len(data) - count:
        raise IndexError(at)
    return data[at : at + count]
