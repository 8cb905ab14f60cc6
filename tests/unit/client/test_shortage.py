"""Too many open files: soon over, or for long."""

from tupli.errors import SpoolFull
from tupli.recording.shortage import LASTING_SECONDS, Shortage
from tupli.spool.directory import TooManyFiles


def test_a_full_spool_lasts() -> None:
    assert Shortage().lasts(SpoolFull("full"), 0.0)


def test_a_shortage_of_files_lasts_when_there_was_no_segment_for_long() -> None:
    shortage, error = Shortage(), TooManyFiles("no segment")
    assert [shortage.lasts(error, at) for at in (5.0, 6.0, 5.0 + LASTING_SECONDS)] == [False, False, True]


def test_a_segment_in_between_ends_it() -> None:
    shortage, error = Shortage(), TooManyFiles("no segment")
    assert not shortage.lasts(error, 5.0)
    shortage.over()
    assert not shortage.lasts(error, 5.0 + LASTING_SECONDS)
