"""The guard itself: a unit test that does I/O fails, even when the code under test swallows the error."""

import socket
from pathlib import Path

import pytest

from support.no_io import UnitTestDidIO, no_io


def test_the_guard_refuses_and_lists_sockets_and_written_files() -> None:
    with no_io() as attempts:
        with socket.socket() as probe, pytest.raises(UnitTestDidIO):
            probe.connect(("127.0.0.1", 9))
        with pytest.raises(UnitTestDidIO):
            Path("written-by-a-unit-test").write_text("no")
    assert [text.split("(")[0] for text in attempts] == ["socket.connect", "open"]
