"""Request bodies under limits: counted while they come, so that too much is refused before it is read."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Request

from tupli_ingest.http.problem_answers import Refused
from tupli_schemas.framing import HEADER, MAGIC, Frame, decode_frames
from tupli_schemas.problems import Problem

EVENTS_MEDIA_TYPE: Final = "application/vnd.tupli.events"


class InFlight:
    """Bounds the bytes of all bodies that are being read or appended at one time."""

    def __init__(self, limit_bytes: int, retry_after_s: int) -> None:
        self._limit = limit_bytes
        self._retry_after_s = retry_after_s
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of the bodies that are under way."""
        return self._held

    @asynccontextmanager
    async def body(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """The whole body, held until the block ends.

        Raises:
            Refused: It is larger than `max_bytes` (413), encoded (415), or too many are under way (503).
        """
        _refuse_early(request, max_bytes)
        parts: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self._held += len(chunk)
                parts.append(chunk)
                if size > max_bytes:
                    raise Refused(Problem("too_large", f"A request has at most {max_bytes} bytes."))
                if self._held > self._limit:
                    detail = "Too many requests are under way."
                    raise Refused(Problem("unavailable", detail), retry_after_s=self._retry_after_s)
            yield _joined(parts)
        finally:
            self._held -= size


def _joined(parts: list[bytes]) -> bytes:
    """The whole of the parts, which are let go of."""
    whole = b"".join(parts)
    parts.clear()
    return whole


def require_media_type(request: Request, wanted: str) -> None:
    """Refuse a body of another type.

    Raises:
        Refused: With 415.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise Refused(Problem("unsupported_media_type", f"The body must be {wanted}.", "content-type"))


def frames_of(body: bytes, *, max_frame_bytes: int, max_raw_bytes: int) -> list[Frame]:
    """The frames of a body, decompressed only after their declared sizes are found to be within the limits.

    Raises:
        Refused: The declared sizes are over the limits (413).
        FrameError: The body is not well framed.
    """
    if _declared_bytes(body) > max_raw_bytes:
        detail = f"The events of a request have at most {max_raw_bytes} bytes."
        raise Refused(Problem("too_large", detail))
    return decode_frames(body, max_frame_bytes=max_frame_bytes)


def _refuse_early(request: Request, max_bytes: int) -> None:
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise Refused(
            Problem(
                "unsupported_media_type",
                "The body must not be encoded; its frames may be.",
                "content-encoding",
            )
        )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise Refused(Problem("too_large", f"A request has at most {max_bytes} bytes."))


def _declared_bytes(body: bytes) -> int:
    """The sum of the raw sizes that the frames declare, up to the first that is cut or none."""
    total = 0
    at = 0
    while True:
        try:
            magic, _, _, raw_size, stored_size, _ = HEADER.unpack_from(body, at)
        except struct.error:
            return total
        if magic != MAGIC:  # no frame: decoding says so
            return total
        total += raw_size
        at += HEADER.size + stored_size
