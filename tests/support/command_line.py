"""The command line, run in this process as its `main` does."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from tupli.cli.main import main


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return orjson.loads(self.out)


Run = Callable[..., Answer]


def command_line(
    *before: str,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """What runs `tupli BEFORE ARGUMENTS` within an environment, on a terminal of 250 columns."""
    for name, value in ({"COLUMNS": "250"} | dict(environment)).items():
        monkeypatch.setenv(name, value)
    return partial(_run, monkeypatch, capsys, before)


def _run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: tuple[str, ...],
    *arguments: str | Path,
) -> Answer:
    monkeypatch.setattr(sys, "argv", ["tupli", *before, *map(str, arguments)])
    capsys.readouterr()
    code: Any = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    assert isinstance(code, int | None)
    return Answer(code or 0, *capsys.readouterr())
