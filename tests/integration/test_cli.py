"""The command line against a real server: answers, files, exit codes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import httpx
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tupli
from support.command_line import Run, command_line
from support.native_vector import Arcade
from support.server_process import ServerProcess

EPISODES = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def run(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `tupli ARGUMENTS` in this process, as its `main` does."""
    environment = {"TUPLI_URL": server.url, "TUPLI_SPOOL_DIR": str(tmp_path / "spool")}
    return command_line(environment=environment, monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture
def bench(run: Run, server: ServerProcess) -> str:
    """A benchmark of `EPISODES` seeded CartPole episodes, recorded once."""
    name = "cli-single"
    if not tupli.TupliAPIClient(server.url).list_benchmarks(tupli.FilterEQ(key="name", value=name)):
        made = run(
            "record", "CartPole-v1", "--benchmark", name, "--episodes", EPISODES, "--seed", 1, "--json"
        )
        assert (made.json["benchmark"], made.json["episodes"]) == (name, EPISODES)
        assert tupli.dataset(name, url=server.url).preview().n_tuples == made.json["steps"]
    return name


def headers(run: Run, benchmark: str, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run("episodes", benchmark, "--json", *arguments).json
    return found


# -- record ----------------------------------------------------------------------------------------------------


def test_a_seeded_recording_is_that_run(run: Run, bench: str, server: ServerProcess) -> None:
    found = headers(run, bench, "--order", "started_at")
    assert [header["seed"] for header in found] == [1, 2, 3, 4, 5, 6]
    assert {header["policy"] for header in found} == {"random"}
    again = run("record", "CartPole-v1", "--benchmark", "cli-twin", "--episodes", EPISODES, "--seed", 1)
    assert again.code == 0
    twin = headers(run, "cli-twin", "--order", "started_at")
    assert [header["return"] for header in twin] == [header["return"] for header in found]
    data = [tupli.dataset(name, url=server.url).order_by("seed").to_numpy() for name in (bench, "cli-twin")]
    same_columns(*data)
    assert again.out == f"{EPISODES} episodes, {sum(h['n_tuples'] for h in found)} steps in cli-twin\n"


@pytest.mark.parametrize(
    ("kind", "episodes", "status"),
    [("CartPole-v1", 3, "terminated"), ("CartPole-v1", 9, "terminated"), ("Pendulum-v1", 6, "truncated")],
)
def test_a_vector_records_exactly_the_episodes_asked_for(
    kind: str, episodes: int, status: str, run: Run
) -> None:
    """Four at once; Pendulum's end all in the same step, so that some of them are too many."""
    name = f"cli-vector-{kind}-{episodes}"
    made = run("record", kind, "--benchmark", name, "--episodes", episodes, "--num-envs", 4, "--json")
    found = headers(run, name, "--include", "open,incomplete,conflict,abandoned")
    assert [header["status"] for header in found] == [status] * episodes
    assert sum(header["n_tuples"] for header in found) == made.json["steps"]


def test_a_recording_that_the_server_does_not_have_fails(run: Run, server: ServerProcess) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    arguments = ("--benchmark", "cli-left", "--episodes", 3, "--seed", 1, "--wait", 0.5)
    try:
        made = run("record", "CartPole-v1", *arguments, "--json")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert made.code == 1
    result = orjson.loads(made.out)
    assert (result["episodes"], result["left"]["episodes"]) == (3, 3)
    assert result["left"]["rows"] == result["steps"] + 3
    assert f"3 of 3 episodes ({result['left']['rows']} rows) are in the spool" in made.err
    assert f"tupli spool flush --url {server.url}" in made.err
    assert "warning" not in made.err
    until(lambda: len(headers(run, "cli-left")) == 3)  # this process still delivers it


class Modes:
    """Gymnasium's registry with vector environments of their own form, in each mode of autoreset."""

    @staticmethod
    def register(mode: str) -> str:
        name = f"Arcade-{mode.replace('_', '-')}-v0"
        if name not in gymnasium.registry:
            make: Any = lambda num_envs, **_: _arcade(num_envs, mode)  # noqa: E731 -- for its type
            gymnasium.register(name, vector_entry_point=make)
        return name


def _arcade(slots: int, mode: str) -> Any:
    envs = Arcade(slots, "next_step" if mode == "unknown" else mode)
    if mode == "unknown":
        envs.metadata = {}
    return envs


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_a_vector_of_its_own_form_is_played_in_its_mode(run: Run, mode: str) -> None:
    name = f"cli-{mode}"
    made = run(
        "record", Modes.register(mode), "--benchmark", name, "--episodes", 7, "--num-envs", 2, "--json"
    )
    found = headers(run, name, "--include", "open,incomplete,conflict,abandoned")
    assert made.json["episodes"] == len(found)
    assert len(found) in ((7, 8) if mode == "same_step" else (7,))
    assert sum(header["n_tuples"] for header in found) == made.json["steps"]
    assert {header["status"] for header in found} == {"terminated"}


@pytest.mark.filterwarnings("ignore:.*missing AutoresetMode")
def test_an_unknown_mode_of_autoreset_is_asked_for(run: Run) -> None:
    arguments = (
        "record",
        Modes.register("unknown"),
        "--benchmark",
        "cli-unknown",
        "--episodes",
        2,
        "--num-envs",
        2,
    )
    refused = run(*arguments)
    assert refused.code == 1
    assert "autoreset" in refused.err
    assert "next_step" in refused.err
    assert run(*arguments, "--autoreset", "next_step").code == 0
    assert len(headers(run, "cli-unknown")) == 2


# -- listings --------------------------------------------------------------------------------------------------


def test_benchmarks_are_listed(run: Run, bench: str) -> None:
    (found,) = [row for row in run("benchmarks", "--json").json if row["name"] == bench]
    assert found["descriptor"]["environment"] == "CartPole-v1"
    assert run("list_benchmarks", "--json").json == run("benchmarks", "--json").json
    table = run("benchmarks")
    assert table.code == 0
    assert found["id"] in table.out
    assert bench in table.out


def test_episodes_are_filtered_and_ordered(run: Run, bench: str) -> None:
    every = headers(run, bench)
    assert len(every) == EPISODES
    returns = [header["return"] for header in every]
    ordered = headers(run, bench, "--order", "-return,seed")
    assert [header["return"] for header in ordered] == sorted(returns, reverse=True)
    bound = sorted(returns)[2]
    some = headers(
        run, bench, "--episodes", f"return > {bound} and policy == 'random' and seed in [1,2,3,4,5,6]"
    )
    assert sorted(header["id"] for header in some) == sorted(h["id"] for h in every if h["return"] > bound)
    assert len(headers(run, bench, "--order", "-return", "--limit", "2")) == 2
    table = run("episodes", bench, "--order", "seed").out
    assert all(header["id"] in table for header in every)
    assert "terminated" in table


# -- pull ------------------------------------------------------------------------------------------------------

FILTERS = ("--episodes", "seed <= 4", "--tuples", "observation[2] > -0.02 and action == 1")


def expected(bench: str, url: str) -> dict[str, Any]:
    """What the filters of `FILTERS` choose, flat as files are."""
    data = tupli.dataset(bench, url=url).with_episode_filter(tupli.F("seed") <= 4)
    chosen = data.with_tuple_filter((tupli.F("observation[2]") > -0.02) & (tupli.F("action") == 1)).to_numpy()
    assert len(chosen["reward"]) > 10
    return chosen


def same_columns(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert set(ours) == set(theirs)
    for name, column in theirs.items():
        np.testing.assert_array_equal(ours[name], column, err_msg=name)
        assert ours[name].dtype == column.dtype, name


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_pull_to_arrow_files(kind: str, run: Run, bench: str, server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / f"near.{kind}"
    told = run("pull", bench, *FILTERS, "-o", file, "--json").json
    theirs = expected(bench, server.url)
    assert told == {"rows": len(theirs["reward"]), "file": str(file), "bytes": file.stat().st_size}
    table = pq.read_table(file) if kind == "parquet" else pa.ipc.open_file(file).read_all()
    assert table.schema.field("observation").metadata[b"shape"] == b"4"
    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        nested = pa.types.is_fixed_size_list(column.type)
        flat = (column.flatten() if nested else column).to_numpy(zero_copy_only=False)
        columns[name] = flat.reshape(len(table), -1) if nested else flat
    same_columns(columns, theirs)


def test_pull_to_npz(run: Run, bench: str, server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "near.npz"
    assert run("pull", bench, *FILTERS, "--output", file).code == 0
    with np.load(file) as columns:
        same_columns(dict(columns), expected(bench, server.url))


def test_pull_to_csv(run: Run, bench: str, server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "near.csv"
    assert run("pull", bench, *FILTERS, "-o", file, "--columns", "observation, action,terminated").code == 0
    theirs = expected(bench, server.url)
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for index in range(4):
        column = np.array([row[f"observation[{index}]"] for row in rows], np.float32)
        np.testing.assert_array_equal(column, theirs["observation"][:, index])
    assert [int(row["action"]) for row in rows] == theirs["action"].tolist()
    assert [row["terminated"] == "True" for row in rows] == theirs["terminated"].tolist()


def test_infos_are_pulled_as_json(run: Run, bench: str, tmp_path: Path) -> None:
    file = tmp_path / "infos.parquet"
    assert run("pull", bench, "-o", file, "--columns", "info,reward").code == 0
    assert set(pq.read_table(file)["info"].to_pylist()) == {"{}"}


@pytest.mark.parametrize("kind", ["parquet", "arrow", "npz", "csv"])
@pytest.mark.parametrize("chosen", [("--tuples", "reward > 5"), ("--episodes", "return > 1e9")])
def test_an_empty_answer_is_a_file_that_can_be_read(
    kind: str, chosen: tuple[str, str], run: Run, bench: str, tmp_path: Path
) -> None:
    file = tmp_path / f"none.{kind}"
    assert run("pull", bench, *chosen, "-o", file, "--json").json["rows"] == 0
    if kind == "csv":
        assert "observation[0]" in file.read_text().splitlines()[0]
    elif kind == "npz":
        with np.load(file) as columns:
            assert (columns["observation"].shape, columns["observation"].dtype) == ((0, 4), np.float32)
    else:
        table = pq.read_table(file) if kind == "parquet" else pa.ipc.open_file(file).read_all()
        assert table.num_rows == 0
        assert table.schema.field("observation").type == pa.list_(pa.float32(), 4)


# -- spool, rebuild, version -----------------------------------------------------------------------------------

RECORDER = """
import os, gymnasium, tupli
env = tupli.record(gymnasium.make("CartPole-v1"), "cli-spool", drain_timeout=0)
env.reset(seed=1)
for action in (0, 1, 0):
    env.step(action)
os._exit(1)
"""


def test_the_spool_is_shown_and_flushed(run: Run, server: ServerProcess, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"streams": [], "rejected": [], "unproven": []}
    assert run("spool", "status", "--json").json == nothing
    counts = dict.fromkeys(("streams", "episodes", "steps", "rows", "left", "rejected"), 0)
    assert run("spool", "flush", "--json").json == counts | {"problems": [], "elsewhere": []}
    os.kill(server.pid, signal.SIGSTOP)
    try:
        subprocess.run([sys.executable, "-c", RECORDER], check=False, timeout=60)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    (waiting,) = run("spool", "status", "--json").json["streams"]
    assert (waiting["benchmark"], waiting["alive"], waiting["address"]) == ("cli-spool", False, server.url)
    assert waiting["rows"] >= 3
    assert waiting["stream"] in run("spool", "status").out
    flushed = run("spool", "flush")
    assert (flushed.code, flushed.out) == (0, "delivered 3 steps of 1 stream; 1 episode ended with them\n")
    assert run("spool", "status", "--json").json == nothing
    until(lambda: len(headers(run, "cli-spool")) == 1)
    (header,) = headers(run, "cli-spool")
    assert (header["status"], header["reason"], header["n_tuples"]) == ("aborted", "killed", 3)


def test_flush_without_a_server_fails(run: Run, tmp_path: Path, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    script = RECORDER.replace("drain_timeout=0", f"drain_timeout=0, url={url!r}")
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    failed = run("spool", "flush", "--url", url)
    assert failed.code == 1
    assert "TransportError" in failed.err
    assert failed.out.startswith(
        "cut short: delivered 0 of 4 rows; 4 rows of 1 stream stay in the spool; deliver"
    )
    assert len(run("spool", "status", "--json").json["streams"]) == 1
    elsewhere = run("spool", "flush")
    assert elsewhere.code == 0
    assert f"4 rows of 1 stream for {url} stay in the spool; deliver them with: tupli spool" in elsewhere.out


def test_rebuild(run: Run, bench: str) -> None:
    before = headers(run, bench)
    told = run("rebuild", "--json").json
    assert told["state"] == "done"
    assert headers(run, bench) == before
    assert run("rebuild").out == f"generation {told['generation'] + 1} serves\n"


def test_version(run: Run) -> None:
    assert run("--version").out == f"tupli {tupli.__version__}\n"
    for flags in (("--version", "--json"), ("--json", "--version")):
        assert run(*flags).json == {"version": tupli.__version__}


def test_what_goes_wrong_is_json_where_that_is_asked_for(run: Run) -> None:
    answer = run("episodes", "no-such", "--json")
    error = orjson.loads(answer.err)["error"]
    assert (answer.code, answer.out, error["type"]) == (1, "", "NotFound")
    assert "no-such" in error["detail"]
    error = orjson.loads(run("pull", "b", "-o", "x.csv", "--json", "--tuples", "F(").err)["error"]
    assert (error["type"], error["problem"]) == ("ExpressionError", None)


def test_a_seed_that_is_none_leaves_no_benchmark(run: Run) -> None:
    answer = run("record", "CartPole-v1", "--benchmark", "negative", "--episodes", 1, "--seed", -1)
    assert answer.code == 2
    assert "--seed" in answer.err
    assert "Traceback" not in answer.err
    assert run("benchmarks", "--json").code == 0
    assert "negative" not in {one["name"] for one in run("benchmarks", "--json").json}


def test_up_is_the_server(tmp_path: Path, free_port: int) -> None:
    command = [
        sys.executable,
        "-m",
        "tupli.cli.main",
        "up",
        "--data",
        str(tmp_path),
        "--port",
        str(free_port),
    ]
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        until(lambda: answers(f"http://127.0.0.1:{free_port}/readyz"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.1)


# -- wrong input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["episodes", "no-such"], ["NotFound", "no-such"]),
        (["pull", "no-such", "-o", "FOLDER/x.npz"], ["NotFound", "no-such"]),
        (["episodes", "BENCH", "--episodes", "return >> 3"], ["return >> 3\n", "         ^"]),
        (["pull", "BENCH", "--tuples", "reward > ", "-o", "FOLDER/x.csv"], ["reward > \n", "^"]),
        (["pull", "BENCH", "--tuples", "", "-o", "FOLDER/x.npz"], ["a key or a value belongs here"]),
        (["episodes", "BENCH", "--episodes", ""], ["a key or a value belongs here"]),
        (["pull", "BENCH", "--tuples", "rewart > 1", "-o", "FOLDER/x.npz"], ["rewart", "reward", "observation"]),
        (["episodes", "BENCH", "--episodes", "polizy == 'x'"], ["polizy", "policy", "return"]),
        (["episodes", "BENCH", "--order", "-retrun"], ["retrun", "return"]),
        (["episodes", "BENCH", "--include", "finished"], ["finished", "open"]),
        (["pull", "BENCH", "-o", "FOLDER/x.xlsx"], [".parquet", ".csv"]),
        (["pull", "BENCH", "-o", "FOLDER/none/x.npz"], ["--output", "does not exist"]),
        (["pull", "BENCH", "-o", "FOLDER/x.npz", "--columns", "rewards"], ["rewards", "reward"]),
        (["pull", "BENCH", "--tuples", "observation > 1", "-o", "FOLDER/x.parquet"], ["observation", "4"]),
        (["pull", "BENCH", "-o", "FOLDER"], ["--output", "is a folder"]),
        (["pull", "BENCH", "-o", "FOLDER/x.csv/"], ["--output", "is a folder"]),
        (["pull", "BENCH", "-o", "FOLDER/x.npz", "--columns", ""], ["--columns", "empty name"]),
        (["episodes", "BENCH", "--include", "open,"], ["--include", "empty name"]),
        (["record", "NoSuch-v0", "--benchmark", "x", "--episodes", "1"], ["ENV_ID", "NoSuch"]),
        (["record", "no_module:X-v0", "--benchmark", "x", "--episodes", "1"], ["ENV_ID", "no_module"]),
        (["record", ":", "--benchmark", "x", "--episodes", "1"], ["ENV_ID"]),
        (["record", "a:b:c", "--benchmark", "x", "--episodes", "1"], ["ENV_ID"]),
        (["record", ".:CartPole-v1", "--benchmark", "x", "--episodes", "1"], ["ENV_ID"]),
        (["record", "Pendulum-v1", "--benchmark", "BENCH", "--episodes", "1"], ["Conflict"]),
        (["record", "CartPole-v1", "--benchmark", "x", "--episodes", "0"], ["--episodes"]),
    ],
)  # fmt: skip
def test_wrong_input_says_why_and_leaves_nothing(
    arguments: list[str], words: list[str], run: Run, bench: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    answer = run(*(part.replace("BENCH", bench).replace("FOLDER", str(folder)) for part in arguments))
    assert answer.code in (1, 2)
    assert answer.out == ""
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err
    assert not list(folder.iterdir())


class Broken(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole whose step tells something and fails."""

    def __init__(self, **_: Any) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))

    def step(self, action: Any) -> Any:
        warnings.warn(f"it smokes at {action.dtype}", UserWarning, stacklevel=1)
        raise ZeroDivisionError("it broke")


def test_what_goes_wrong_in_an_environment_is_json_as_well(run: Run) -> None:
    gymnasium.register("Broken-v0", Broken)
    arguments = ("record", "Broken-v0", "--benchmark", "broken", "--episodes", 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with pytest.raises(ZeroDivisionError):
                run(*arguments)
            answer = run(*arguments, "--json")
    finally:
        gymnasium.registry.pop("Broken-v0")
    *told, last = map(orjson.loads, answer.err.splitlines())
    assert (answer.code, answer.out) == (1, "")
    assert {"type": "UserWarning", "detail": "it smokes at int64"} in [line["warning"] for line in told]
    assert (last["error"]["type"], last["error"]["detail"]) == ("ZeroDivisionError", "it broke")
    assert "in step" in last["error"]["traceback"]


def test_names_that_are_no_unicode_are_told(run: Run, bench: str, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"tuples\xff.csv")
    assert json.loads(run("pull", bench, "-o", file, "--json").out)["file"] == str(file)
    assert file.stat().st_size
    assert "tuples\\udcff.csv" in run("pull", bench, "-o", file).out
    for command in (("episodes",), ("pull", "-o", file)):
        answer = run(command[0], os.fsdecode(b"b\xff"), *command[1:], "--json")
        assert (answer.code, answer.out) == (1, "")
        assert json.loads(answer.err)["error"]["detail"]


def test_without_a_server_it_says_so(run: Run, free_port: int) -> None:
    answer = run("benchmarks", "--url", f"http://127.0.0.1:{free_port}")
    assert answer.code == 1
    assert f"TransportError: http://127.0.0.1:{free_port}" in answer.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pull",), "Missing argument"),
        (("pull", "b", "--nope"), "No such option: --nope"),
        (("nonsense",), "No such command 'nonsense'"),
        (("episodes", "b", "--limit", "many"), "Invalid value for '--limit'"),
    ],
)
def test_what_is_no_command_is_told_to_programs_as_well(
    run: Run, arguments: tuple[str, ...], told: str
) -> None:
    answer = run(*arguments, "--json")
    assert (answer.code, answer.out) == (2, "")
    assert told in orjson.loads(answer.err)["error"]["detail"]
    assert "╭" in run(*arguments).err  # and to people, in a box
