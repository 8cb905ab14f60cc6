"""One segment file of the spool, mapped into memory.

The environment's thread writes through the arrays of a `Segment` and publishes with one store; the
background thread reads the same arrays up to what is published.
"""

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from tupli.spool.layout import (
    ACKNOWLEDGED_AT,
    CLOSED,
    FIXED,
    MAGIC,
    PAGE,
    PUBLISHED_AT,
    SegmentShape,
    pack_word,
    unpack_word,
)
from tupli_schemas.errors import ContractError
from tupli_schemas.steps import Layout

_MADV_POPULATE_WRITE: Final = 23


class SegmentError(ContractError):
    """A file that is no whole segment."""


class Segment:
    """A mapped segment.

    Attributes:
        columns: Arrays of shape `(rows, *cell)`, by the names of `SegmentShape.columns`; not contiguous
            in records.
        whole: The mapped bytes. record_at: Where in them the first record is.
        places: Where in them each column begins, and from row to row how far it is, in bytes.
        word: What is published. rows_word: the half of it that counts rows.
        control: The control records' bytes. heap: the heap's bytes.
        meta: What was given at creation: the step schema of all its rows.
        is_away: Whether it is not mapped: only `published`, `done` and `unacknowledged` can be asked.
    """

    def __init__(self, path: Path, shape: SegmentShape, meta: dict[str, Any], mapped: mmap.mmap) -> None:
        self.path = path
        self.shape = shape
        self.meta = meta
        self.places, self._control, self._heap, self.size = shape.offsets(len(orjson.dumps(meta)))
        self._lay_out(mapped)

    def _lay_out(self, mapped: mmap.mmap) -> None:
        shape, offsets, control, heap = self.shape, self.places, self._control, self._heap
        self.is_away = False
        self._map = mapped
        self.columns: dict[str, npt.NDArray[Any]] = {}
        for name, dtype, cell in shape.columns:
            offset, row = offsets[name]
            inner = np.empty((1, *cell), np.bool_).strides[1:]
            strides = (row, *(step * dtype.itemsize for step in inner))
            self.columns[name] = np.ndarray((shape.rows, *cell), dtype, mapped, offset, strides)
        whole = memoryview(mapped)
        self.control = whole[control : control + shape.control]
        self.heap = whole[heap : heap + shape.heap]
        self.whole = whole
        self.record_at = min((offsets[name][0] for name in shape.record[0]), default=0)
        self.word = whole[PUBLISHED_AT : PUBLISHED_AT + 8].cast("Q")
        half = PUBLISHED_AT + (0 if sys.byteorder == "little" else 4)
        self.rows_word = whole[half : half + 4].cast("I")
        self.acknowledged = whole[ACKNOWLEDGED_AT : ACKNOWLEDGED_AT + 8].cast("Q")

    @property
    def number(self) -> int:
        """Its place in the stream, from 1."""
        return int(self.path.stem)

    def published(self) -> tuple[int, int, bool]:
        """Rows and control bytes that may be read, and whether the next segment goes on."""
        return unpack_word(self.word[0])

    @property
    def done(self) -> bool:
        """Whether nothing more will come, and everything is acknowledged."""
        return bool(self.word[0] & CLOSED) and self.acknowledged[0] | CLOSED == self.word[0]

    @property
    def unacknowledged(self) -> int:
        """Rows that are published, and that the server has not acknowledged."""
        return max(self.published()[0] - unpack_word(self.acknowledged[0])[0], 0)

    def acknowledge(self, rows: int, control: int) -> None:
        """Say that the server holds everything up to here."""
        self.acknowledged[0] = pack_word(rows, control)

    def unlink(self) -> None:
        """Remove the file; the mapping lives as long as something refers to it."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".sum").unlink(missing_ok=True)

    def populate(self) -> None:
        """Bring all pages in, so that the environment's thread meets no page faults that allocate.

        The interpreter is not held meanwhile. Where the kernel cannot (before Linux 5.14), pages come as
        they are touched.
        """
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        _LIBC.madvise(ctypes.c_void_p(address), ctypes.c_size_t(self.size), _MADV_POPULATE_WRITE)

    def let_pages_go(self) -> None:
        """Give the memory back to the kernel, which keeps the pages as the file's; who reads them maps them again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def put_away(self) -> None:
        """Unmap it, and with that close its file: nobody writes it any more, and nobody reads it for a while.

        Arrays of it that somebody still holds stay as they are, and keep it open.
        """
        if self.is_away:
            return
        self.let_pages_go()
        self.is_away = True
        self.word, self.acknowledged = (
            memoryview(bytearray(word)).cast("Q") for word in (self.word, self.acknowledged)
        )
        self.rows_word = memoryview(bytearray(self.rows_word)).cast("I")
        self.whole = self.control = self.heap = memoryview(b"")
        self.columns = {}
        del self._map

    def take_up(self) -> None:
        """Map it again, if it was put away.

        Raises:
            OSError: Its file cannot be opened.
        """
        if self.is_away:
            with self.path.open("r+b") as file:
                self._lay_out(_mapped(file.fileno(), self.size))

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Mapped meanwhile; afterwards as before.

        Raises:
            OSError: Its file cannot be opened.
        """
        was_away = self.is_away
        self.take_up()
        try:
            yield
        finally:
            if was_away:
                self.put_away()

    @staticmethod
    def create(path: Path, shape: SegmentShape, meta: dict[str, Any]) -> "Segment":
        """A new segment, allocated in full (never sparse: a full disk would be SIGBUS later).

        Raises:
            OSError: There is no room (`ENOSPC`), or the directory cannot be written.
        """
        raw = orjson.dumps(meta)
        size = shape.offsets(len(raw))[3]
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _allocate(descriptor, size)
            mapped = _mapped(descriptor, size)
            mapped[: FIXED.size] = FIXED.pack(
                MAGIC, len(raw), shape.rows, shape.slots, shape.control, shape.heap
            )
            mapped[PAGE : PAGE + len(raw)] = raw
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return Segment(path, shape, meta, mapped)

    @staticmethod
    def open(path: Path) -> "Segment":
        """A segment that another process wrote.

        Raises:
            SegmentError: The file is cut or something else.
        """
        with path.open("r+b") as file:
            head = file.read(FIXED.size)
            if len(head) < FIXED.size or head[:8] != MAGIC:
                raise SegmentError("not a segment", place=str(path))
            _, meta_size, rows, slots, control, heap = FIXED.unpack(head)
            file.seek(PAGE)
            try:
                meta = orjson.loads(file.read(meta_size))
                shape = SegmentShape(Layout.parse(meta["layout"]), slots, rows, control, heap)
            except (orjson.JSONDecodeError, KeyError, TypeError, ContractError) as error:
                raise SegmentError("its description is damaged", place=str(path)) from error
            size = shape.offsets(meta_size)[3]
            if os.fstat(file.fileno()).st_size < size:
                raise SegmentError("cut short", place=str(path))
            return Segment(path, shape, meta, _mapped(file.fileno(), size))


def _mapped(descriptor: int, size: int) -> mmap.mmap:
    """The file's bytes. Before Python 3.13 a mapping keeps a descriptor of its own open."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, trackfd=False)
    return mmap.mmap(descriptor, size)


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    zeros = bytes(1 << 20)
    for at in range(0, size, len(zeros)):
        os.pwrite(descriptor, zeros[: min(len(zeros), size - at)], at)


_LIBC = ctypes.CDLL(None, use_errno=True)
