"""Names of benchmarks: what the server would refuse is refused before anything is recorded."""

import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import tupli
from tupli.cli.main import main
from tupli.transport import FakeTransport

ID = "018bcfe5-6800-8000-8000-000700000000"
BAD = ("my benchmark", "-x", "é", "x" * 129)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_told_at_once(name: str, tmp_path: Path) -> None:
    transport = FakeTransport()
    ways: list[Any] = [
        lambda: tupli.record(
            gymnasium.make("CartPole-v1"), name, transport=transport, spool_dir=tmp_path / "s"
        ),
        lambda: tupli.Recorder(name, transport=transport, spool_dir=tmp_path / "s"),
    ]
    for way in ways:
        with pytest.raises(tupli.InvalidInput, match=r"benchmark: .* is not a name: up to 128 of A-Z"):
            way()
    assert transport.benchmarks == {}
    assert not list(tmp_path.glob("s/*/*/"))


@pytest.mark.parametrize("name", ["CartPole-v1", "a.b_c@d", ID])
def test_names_and_ids_are_taken(name: str, tmp_path: Path) -> None:
    with tupli.Recorder(name, transport=FakeTransport(), spool_dir=tmp_path):
        pass


def test_a_name_of_somebody_else_is_told_to_go_by_its_id(tmp_path: Path) -> None:
    with pytest.raises(tupli.InvalidInput, match="another's benchmark goes by its id"):
        tupli.Recorder("ada/cartpole", transport=FakeTransport(), spool_dir=tmp_path)


def test_the_command_line_says_the_rule_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUPLI_SPOOL_DIR", str(tmp_path))
    arguments = ["record", "CartPole-v1", "--benchmark", "my benchmark", "--episodes", "1"]
    monkeypatch.setattr(sys, "argv", ["tupli", *arguments, "--url", "http://127.0.0.1:9"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "'my benchmark' is not a name: up to 128 of A-Z a-z 0-9" in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*/"))
