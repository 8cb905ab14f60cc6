"""A new recording stream: its directory in the spool, its manifest and lock, its writer, and the job that delivers it."""

import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tupli.errors import SpoolFull
from tupli.recording.config import RecordingConfig
from tupli.recording.job import StreamJob
from tupli.spool.directory import NO_FILES, NO_ROOM, SpoolDirectory, TooManyFiles
from tupli.spool.manifest import Manifest
from tupli.spool.owner import StreamLock, this_process
from tupli.spool.segment import Segment
from tupli.spool.writer import StreamWriter
from tupli_schemas.ids import RANDOM_BITS, id_text


def opened(
    config: RecordingConfig, slots: int, on_segment: Callable[[Segment], None]
) -> tuple[StreamJob, StreamWriter]:
    """A stream of this process; `on_segment` is called with each segment before it is written.

    Raises:
        SpoolFull: There is no room for it.
        ValueError: The settings name no benchmark.
    """
    manifest = _manifest(config, slots)
    lock = None
    try:
        path, lock = new_stream(config.directory, manifest)
        writer = StreamWriter(config.directory, path, slots)
        writer.on_segment = on_segment
        return StreamJob(config.transport, config.directory, path, manifest, lock, writer), writer
    except BaseException as error:
        if lock is not None:
            _undo(path, lock)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            told = f"no room for a stream in {config.directory.root}: {error.strerror}"
            raise SpoolFull(told) from error
        if isinstance(error, OSError) and error.errno in NO_FILES:
            raise TooManyFiles(f"no stream in {config.directory.root}: {error.strerror}") from error
        raise


def new_stream(directory: SpoolDirectory, manifest: Manifest) -> tuple[Path, StreamLock]:
    """A new stream's directory, with its manifest, and its lock; nothing is left of it when that fails."""
    path = directory.stream_path(manifest.address, manifest.stream)
    lock = StreamLock(path)
    try:
        lock.acquire()
        manifest.write(path)
        return path, lock
    except BaseException:  # Ctrl-C too
        _undo(path, lock)
        raise


def _undo(path: Path, lock: StreamLock) -> None:
    lock.close()
    shutil.rmtree(path, ignore_errors=True)


def _manifest(config: RecordingConfig, slots: int) -> Manifest:
    if config.benchmark is None:
        raise ValueError("no benchmark")
    stream = id_text(config.transport.new_stream(time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS)))
    return Manifest(
        stream=stream,
        address=config.transport.address,
        identity=config.transport.identity,
        owner=this_process(),
        benchmark=config.benchmark,
        slots=slots,
        run=config.run or stream,
        policy=config.policy,
        environment=config.environment,
        versions=config.versions,
        publish_in=config.publish_in,
    )
