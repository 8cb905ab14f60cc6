"""Warnings point at the line of whoever called, through our frames and Gymnasium's."""

import inspect
import threading
import warnings
from typing import Any

import pytest

from tupli import telling
from tupli.errors import TupliWarning
from tupli.telling import tell


def through(*modules: str) -> Any:
    """A function that calls `tell` through one frame of each module."""
    call: Any = tell
    for module in modules:
        names: dict[str, Any] = {"__name__": module, "inner": call}
        exec("def outer(message):\n    inner(message)", names)
        call = names["outer"]
    return call


@pytest.mark.parametrize(
    "modules",
    [(), ("tupli.recording.stream",), ("tupli.recording.wrapper", "gymnasium.core", "tupli.recording.api")],
)
def test_it_points_at_the_users_line(modules: tuple[str, ...]) -> None:
    call = through(*modules)
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]  # there is one in CPython
    with pytest.warns(TupliWarning, match="the disk is full") as caught:
        call("the disk is full")
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


def test_on_a_thread_it_points_at_nobodys() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=through("tupli.recording.shipper"), args=("refused",))
        thread.start()
        thread.join()
    assert [warning.filename for warning in caught] == [telling.__file__]


def test_where_warnings_are_errors_nothing_is_raised() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        through("tupli.recording.stream")("the disk is full")
