"""The end of a stream: nothing more will be written to it."""

from tupli.recording.backoff import reason_of
from tupli.recording.job import StreamJob
from tupli.recording.shipper import background


def look_after(job: StreamJob) -> None:
    """See that the stream is delivered; also done again, what was interrupted the time before."""
    background().add(job)
    background().adopt(job.directory, job.transport)


def end_job(job: StreamJob) -> str:
    """Close the last segment, and cover all by checksums while there is a process; what went wrong, if anything did.

    Interrupted, it is done again.
    """
    problem = ""
    try:
        look_after(job)
        if job.writer is not None:
            job.writer.finish()
        job.upkeep.keep_checksums()
    except Exception as error:  # noqa: BLE001 -- closing must not fail the run; without a checksum it is only not believed after a reboot
        problem = reason_of(error)
    job.ended = True
    background().wake()
    return problem
