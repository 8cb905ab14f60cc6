"""Whatever is done to an actor, no completed step is lost, and none is there twice."""

import random
from pathlib import Path

import pytest

from support import actor
from support.actor_process import Actor, check_walk
from support.loop_oracle import recorded_runs
from support.tiny_server import TinyServer, tiny_server
from tupli.errors import TransportError
from tupli.recording.flush import FlushReport, flush_dead, status
from tupli.transport import HttpTransport


def flush(spool: Path, url: str) -> FlushReport:
    transport = HttpTransport(url)
    try:
        return flush_dead(spool, transport)
    finally:
        transport.close()


def check_single(server: TinyServer, completed: int) -> None:
    runs = recorded_runs(server.kept.events)
    actions = [int(action) for run in runs for action in run.actions]
    assert actions == list(range(len(actions)))
    assert completed <= len(actions) <= completed + 1
    for run in runs:
        check_walk(run)
        assert run.end is not None
    assert runs[-1].end is not None
    if len(runs[-1].actions) < actor.EPISODE:
        assert (runs[-1].end.aborted, runs[-1].end.reason) == (True, "killed")


@pytest.mark.parametrize("seed", range(3))
def test_kill_at_any_moment_loses_nothing(seed: int, tmp_path: Path) -> None:
    with tiny_server() as server:
        running = Actor("single", server.url, tmp_path)
        running.wait_for(random.Random(seed).randint(1, 60_000))
        completed = running.kill()
        report = flush(running.spool, server.url)
        assert report.left == 0
        assert not report.problems
        check_single(server, completed)
        assert not status(running.spool)
        assert flush(running.spool, server.url).streams == 0


def test_kill_of_a_vector_actor(tmp_path: Path) -> None:
    with tiny_server() as server:
        running = Actor("vector", server.url, tmp_path)
        running.wait_for(3_000)
        completed = running.kill()
        flush(running.spool, server.url)
        runs = recorded_runs(server.kept.events)
        # next-step autoreset: the step after an episode's last resets, and is nobody's transition
        steps = [i for i in range(completed + 1) if i % (actor.EPISODE + 1) != actor.EPISODE]
        sure = [i for i in steps if i < completed]
        for slot in range(3):
            mine = [run for run in runs if run.start is not None and run.start.slot == slot]
            assert [int(action) for run in mine for action in run.actions] in (sure, steps)
            for run in mine:
                check_walk(run)


def test_server_down_from_the_start(tmp_path: Path, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    running = Actor("single", url, tmp_path)
    running.wait_for(20_000)
    completed = running.kill()
    with pytest.raises(TransportError):
        flush(running.spool, url)
    assert [entry.alive for entry in status(running.spool)] == [False]
    with tiny_server(free_port) as server:
        flush(running.spool, url)
        check_single(server, completed)


def test_a_hanging_server_does_not_stop_the_run(tmp_path: Path) -> None:
    with tiny_server() as server:
        server.fault = "hang"
        running = Actor("single", server.url, tmp_path)
        running.wait_for(30_000)
        completed = running.kill()
        server.fault = ""
        flush(running.spool, server.url)
        check_single(server, completed)


def test_an_acknowledgement_that_got_lost_gives_no_duplicates(tmp_path: Path) -> None:
    with tiny_server() as server:
        running = Actor("single", server.url, tmp_path)
        running.wait_for(2_000)
        server.fault = "no answer"
        running.wait_for(running.completed + 20_000)
        completed = running.kill()
        with pytest.raises(TransportError):
            flush(running.spool, server.url)  # kept there, and not known here
        server.fault = ""
        flush(running.spool, server.url)
        check_single(server, completed)  # compares repetitions number by number


def test_exit_without_close_delivers(tmp_path: Path) -> None:
    with tiny_server() as server:
        running = Actor("exit", server.url, tmp_path)
        code, errors = running.finish()
        assert code == 0, errors
        runs = recorded_runs(server.kept.events)
        assert [len(run.actions) for run in runs] == [50, 50, 20]
        assert runs[-1].end is not None
        assert runs[-1].end.reason == "exit"
        assert not status(running.spool)


def test_control_c_delivers(tmp_path: Path) -> None:
    with tiny_server() as server:
        running = Actor("interrupt", server.url, tmp_path)
        code, errors = running.finish()
        assert code != 0
        assert "KeyboardInterrupt" in errors
        assert [len(run.actions) for run in recorded_runs(server.kept.events)] == [30]


def test_a_forked_child_has_a_stream_of_its_own(tmp_path: Path) -> None:
    with tiny_server() as server:
        running = Actor("fork", server.url, tmp_path)
        code, errors = running.finish()
        assert code == 0, errors
        runs = recorded_runs(server.kept.events)
        assert len({run.start.stream for run in runs if run.start is not None}) == 2
        by_length = sorted(([int(a) for a in run.actions] for run in runs), key=len)
        assert by_length == [list(range(20)), [*range(30), *range(1000, 1010)]]
