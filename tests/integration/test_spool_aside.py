"""What is put aside instead of delivered: kept, told, and never glued to what is."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.dead_spool import STEPS, cover, dead_spool
from support.loop_oracle import Run, recorded_runs
from tupli.errors import TransportError
from tupli.recording.flush import flush_dead, status
from tupli.spool import owner as owner_module
from tupli.spool import unproven as unproven_module
from tupli.spool.layout import pack_word
from tupli.spool.rejected import rejected
from tupli.spool.segment import Segment
from tupli.spool.unproven import unproven
from tupli.transport import FakeTransport
from tupli.transport.fake import refusal
from tupli_schemas.events import Event, StepsRecorded

LARGE = 8_192
"""Values of an observation, so that the steps fill several segments."""


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with dead_spool(tmp_path / "spool") as path:
        yield path


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    with dead_spool(tmp_path / "spool", LARGE) as path:
        yield path


@pytest.fixture
def restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "boot_id", lambda: "another boot")


def root_of(path: Path) -> Path:
    return path.parents[1]


def aside(path: Path) -> Path:
    return root_of(path) / "unproven"


def break_second(segment: Segment) -> None:
    if segment.number == 2:
        segment.columns["o0"][0] = -1.0  # a page that was not written in time


def only_run(transport: FakeTransport) -> Run:
    (run,) = recorded_runs(transport.events)
    return run


# --- after a restart of the machine ---------------------------------------------------------------------------------


def test_what_cannot_be_proven_is_kept_as_it_was(large: Path, restarted: None) -> None:
    rows = cover(large, break_second)
    assert len([count for count in rows if count]) >= 3
    files = {file.name: file.read_bytes() for file in sorted(large.glob("*.s*"))}
    transport = FakeTransport()
    report = flush_dead(root_of(large), transport)
    assert (report.streams, report.left, report.steps) == (1, 0, rows[0])
    assert f"({sum(rows[1:])} rows)" in report.problems[0]
    assert len(only_run(transport).actions) == rows[0]
    assert not large.exists()
    (kept,) = unproven(aside(large))
    assert (kept.stream, kept.benchmark, kept.rows) == (large.name, "any", sum(rows[1:]))
    for name in ("00000002.seg", "00000002.sum", "00000003.seg"):
        assert (aside(large) / f"{large.name}-{name}").read_bytes() == files[name]
    assert not (aside(large) / f"{large.name}-00000001.seg").exists()
    about = orjson.loads((aside(large) / f"{large.name}.json").read_bytes())
    assert about["manifest"]["stream"] == large.name
    assert about["segments"]["00000002.seg"]["claimed"][0] == rows[1]
    assert status(root_of(large)) == []


def test_nothing_is_glued_behind_a_gap_by_a_second_attempt(large: Path, restarted: None) -> None:
    """The first flush is cut short; by then the headers say what was proven."""
    rows = cover(large)
    second = Segment.open(large / "00000002.seg")
    second.columns["o0"][rows[1] - 1] = -1.0
    transport = FakeTransport()
    answers = iter([TransportError("gone")])

    def lose_an_answer(events: list[Event]) -> None:
        error = next(answers, None)
        if error is not None:
            raise error

    transport.after_send = lose_an_answer
    with pytest.raises(TransportError):
        flush_dead(root_of(large), transport)
    assert flush_dead(root_of(large), transport).problems == []  # told by the first
    run = only_run(transport)
    assert [int(observation[0]) for observation in run.observations] == list(range(rows[0]))
    assert run.end is None
    (kept,) = unproven(aside(large))
    assert kept.rows == sum(rows[1:])


def test_a_segment_that_is_proven_in_part_is_sent_in_part_and_kept_whole(
    small: Path, restarted: None
) -> None:
    cover(small)
    segment = Segment.open(small / "00000001.seg")
    rows, used, _ = segment.published()
    (small / "00000001.sum").unlink()
    segment.word[0] = pack_word(80, used)
    cover(small)
    segment.word[0] = pack_word(rows, used)
    transport = FakeTransport()
    report = flush_dead(root_of(small), transport)
    assert (report.steps, len(only_run(transport).actions)) == (80, 80)
    kept = Segment.open(aside(small) / f"{small.name}-00000001.seg")
    assert [int(o[0]) for o in kept.columns["o0"][:rows]] == list(range(rows))
    about = orjson.loads((aside(small) / f"{small.name}.json").read_bytes())
    told = about["segments"]["00000001.seg"]
    assert (told["proven"][0], told["claimed"][0], told["rows"]) == (80, rows, rows - 80)


def test_what_is_proven_to_the_end_leaves_no_doubt(small: Path, restarted: None) -> None:
    cover(small)
    transport = FakeTransport()
    report = flush_dead(root_of(small), transport)
    assert report.problems == []
    assert report.steps == len(only_run(transport).actions) == STEPS
    assert not aside(small).exists()


def test_what_the_server_has_is_not_lost(small: Path, restarted: None) -> None:
    segment = Segment.open(small / "00000001.seg")
    segment.acknowledge(*segment.published()[:2])
    report = flush_dead(root_of(small), FakeTransport())
    assert report.problems == []
    assert not aside(small).exists()


def test_rows_that_the_header_does_not_count_yet_are_kept(small: Path, restarted: None) -> None:
    """The page of the header was not written in time; those of the rows were."""
    segment = Segment.open(small / "00000001.seg")
    rows = segment.published()[0]
    segment.word[0] = 0
    report = flush_dead(root_of(small), FakeTransport())
    assert f"({rows} rows)" in report.problems[0]
    (kept,) = unproven(aside(small))
    assert kept.rows == rows


def test_without_room_to_keep_it_the_stream_stays_as_it_is(
    large: Path, restarted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = cover(large, break_second)
    before = {file.name: file.read_bytes() for file in sorted(large.iterdir())}

    def full(path: Path, data: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(unproven_module, "write_json", full)
        transport = FakeTransport()
        report = flush_dead(root_of(large), transport)
    assert "No space left" in report.problems[0]
    assert transport.events == []
    assert {file.name: file.read_bytes() for file in sorted(large.iterdir())} == before
    assert flush_dead(root_of(large), transport).steps == rows[0]


def test_a_file_system_without_links_keeps_copies(
    large: Path, restarted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = cover(large, break_second)

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr("os.link", refuse)
    flush_dead(root_of(large), FakeTransport())
    assert Segment.open(aside(large) / f"{large.name}-00000002.seg").published()[0] == rows[1]


# --- damage ---------------------------------------------------------------------------------------------------------


def test_a_damaged_segment_and_those_behind_it_are_kept(large: Path) -> None:
    rows = cover(large)
    with (large / "00000002.seg").open("r+b") as file:
        file.truncate(10_000)
    (shown,) = status(root_of(large))
    assert "cut short" in shown.problem
    transport = FakeTransport()
    report = flush_dead(root_of(large), transport)
    assert "cut short" in report.problems[0]
    assert len(only_run(transport).actions) == rows[0]
    (kept,) = unproven(aside(large))
    assert (kept.rows, "cut short" in kept.why) == (sum(rows[2:]), True)
    assert len(list(aside(large).glob("*.seg"))) == sum(count > 0 for count in rows[1:])  # no spare


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_behind_a_missing_segment_is_kept(number: int, large: Path) -> None:
    rows = cover(large)
    (large / f"{number:08d}.seg").unlink()
    transport = FakeTransport()
    report = flush_dead(root_of(large), transport)
    assert f"segment {number} is missing" in report.problems[0]
    taken = [len(run.actions) for run in recorded_runs(transport.events)]
    assert taken == rows[: number - 1]
    (kept,) = unproven(aside(large))
    assert kept.rows == sum(rows[number:])
    assert not large.exists()


def test_killed_while_files_are_put_aside_another_flush_glues_nothing(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each removal of a file; the next flush puts aside what is left."""
    rows = cover(large)
    with (large / "00000002.seg").open("r+b") as file:
        file.write(bytes(8))
    real = Path.unlink
    transport = FakeTransport()

    def killed(file: Path, **_: Any) -> None:
        real(file, missing_ok=True)
        if file.suffix == ".seg":
            raise Killed

    for _ in range(sum(count > 0 for count in rows[1:])):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed)
            with pytest.raises(Killed):
                flush_dead(root_of(large), transport)
        assert transport.events == []
    flush_dead(root_of(large), transport)
    run = only_run(transport)
    assert [int(observation[0]) for observation in run.observations] == list(range(rows[0]))
    assert run.end is None
    kept = {file.name for file in aside(large).glob("*.seg")}
    assert kept == {f"{large.name}-{n:08d}.seg" for n, count in enumerate(rows, 1) if n > 1 and count}


@pytest.mark.parametrize("name", ["manifest.json", "state.json"])
def test_a_stream_whose_files_are_damaged_is_told(small: Path, name: str) -> None:
    (small / name).write_bytes(b"{")
    report = flush_dead(root_of(small), FakeTransport())
    assert len(report.problems) == 1
    assert small.name in report.problems[0]
    (shown,) = status(root_of(small))
    assert shown.stream == small.name
    assert bool(shown.problem) == (name == "manifest.json")


# --- refused --------------------------------------------------------------------------------------------------------


def refuse_steps(events: list[Event]) -> None:
    for index, event in enumerate(events):
        if isinstance(event, StepsRecorded) and event.first <= 11:
            raise refusal("invalid_event", index=index, detail="reward is not a number")


def test_what_the_server_refuses_is_counted_and_shown(small: Path) -> None:
    transport = FakeTransport()
    transport.before_send = refuse_steps
    report = flush_dead(root_of(small), transport)
    folder = root_of(small) / "rejected"
    (shown,) = rejected(folder)
    assert report.rejected == shown.events == len(list(folder.glob("*.event")))
    assert (shown.stream, shown.code, shown.first) == (small.name, "invalid_event", 2)
    assert "reward is not a number" in shown.detail
    assert (report.steps, report.episodes, report.left) == (STEPS - shown.events, 1, 0)
    assert flush_dead(root_of(small), transport).problems == []  # what was refused before is no news


def test_a_damaged_document_is_shown_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a-stream-17.json").write_bytes(b"{")
    (tmp_path / "a-stream-17.event").write_bytes(bytes(5))
    (shown,) = rejected(tmp_path)
    assert (shown.stream, shown.first, shown.events, shown.bytes) == ("a-stream", 17, 1, 5)
    assert "damaged" in shown.detail


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"problem": null, "last": 1}',
        '{"problem": {}, "last": []}',
        '{"problem": {}, "last": 1e999}',
    ],
)
def test_a_refusal_s_document_may_be_any_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "a-stream-17.json").write_text(text)
    (shown,) = rejected(tmp_path)
    assert (shown.stream, shown.last, shown.detail) == ("a-stream", 17, "its document is damaged")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"segments": {"1.seg": {}}}',
        '{"segments": {"1.seg": 3}, "manifest": null}',
        '{"segments": [], "manifest": {"benchmark": null}}',
        '{"segments": {"1.seg": {"rows": "many"}}, "manifest": []}',
    ],
)
def test_a_description_may_be_any_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "a-stream.json").write_text(text)
    (shown,) = unproven(tmp_path)
    assert (shown.stream, shown.rows, shown.benchmark) == ("a-stream", 0, "")
    assert "damaged" in shown.why


def test_nothing_aside_is_nothing_shown(tmp_path: Path) -> None:
    assert rejected(tmp_path / "rejected") == []
    assert list(unproven(tmp_path / "unproven")) == []
    assert list(tmp_path.iterdir()) == []
