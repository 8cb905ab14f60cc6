"""Dead letters of the grown system: told by a gateway and replayed; what had no table is whole after a rebuild."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from support.cluster import Cluster, cluster
from support.ingest_sender import create_benchmark, send_events
from support.ingest_service import eventually
from support.ingest_streams import (
    BENCHMARK,
    LAYOUT,
    OTHER_SUBJECT,
    SCHEMA,
    StreamOfItems,
    new_record,
    started,
)
from support.metrics import scrape
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_schemas.events import CATALOG_TOPIC, EPISODES_TOPIC, Event
from tupli_schemas.ids import LOCAL_SUBJECT, make_id
from tupli_schemas.records import Envelope, RawRecord
from tupli_schemas.steps import Cell, Leaf, StepSchema

WIDE = StepSchema(observation=(Leaf("", Cell("f8", (3,))),), action=(Leaf("", Cell("i8")),))


def wide_stream(number: int) -> list[Event]:
    """An episode of another kind of steps than `LAYOUT`."""
    stream = StreamOfItems(make_id(1_700_000_000_000 + number, number), layout=WIDE.layout).episode(1, 20)
    stream.items[0] = started(1, 1, stream=stream.stream, step_schema=WIDE)
    return stream.events(cut=10)


def tupli(url: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", "tupli.cli.main", "dead-letters", *arguments, "--json", "--url", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


def statuses(grown: Cluster, generation: int = 1) -> list[str]:
    words = ("terminated", "conflict")
    lines = grown.shown(generation)["episodes"]
    return [next(w for w in words if f"\t{w}\t".encode() in line) for line in lines]


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_letters_of_all_partitions_are_told_and_replayed(tmp_path: Path) -> None:
    with cluster(tmp_path, TUPLI_INGEST_MAX_STEP_TABLES="1") as grown:
        url = grown.gateway()
        create_benchmark(url)
        worker = grown.worker()
        narrow = StreamOfItems().episode(1, 20)
        assert (narrow.layout, SCHEMA.layout, BENCHMARK) == (LAYOUT, LAYOUT, BENCHMARK)
        send_events(url, narrow.events(cut=10))
        grown.settled()
        for number in range(1, 7):
            send_events(url, wide_stream(number))
        log = ThreadLog(grown.kafka)
        log.append_now(EPISODES_TOPIC, [new_record(narrow.events()[0], subject=OTHER_SUBJECT)])
        log.close()
        grown.settled()
        assert statuses(grown).count("conflict") == 6

        first = tupli(url, "list", "--limit", "5")
        rest = tupli(url, "list", "--after", str(first["after"]))
        letters = [*first["letters"], *rest["letters"]]
        assert [letter["index"] for letter in letters] == list(range(first["newest"] + 1))
        stuck = [letter for letter in letters if letter["code"] == "no_more_tables"]
        assert len({letter["position"]["partition"] for letter in stuck}) > 1
        for letter in letters:
            shown = tupli(url, "show", str(letter["index"]))["record"]
            assert shown["members"]["stream"] == letter["stream"]
        (foreign,) = [letter for letter in letters if letter["code"] == "foreign_owner"]

        tupli(url, "replay", str(foreign["index"]))  # its owner is still another
        eventually(lambda: len(grown.dead_letters()) == len(letters) + 1)
        assert grown.dead_letters()[-1].code == "foreign_owner"
        assert statuses(grown).count("conflict") == 6

        assert worker.end() == 0
        grown.more["TUPLI_INGEST_MAX_STEP_TABLES"] = "10"
        grown.worker()
        answer = httpx.post(f"{url}/ingest/v1/rebuild", trust_env=False, timeout=60)
        generation = int(answer.json()["job"])
        state = f"{url}/ingest/v1/rebuild"
        eventually(lambda: httpx.get(state, trust_env=False, timeout=30).json()["state"] == "done", 120)
        assert statuses(grown, generation) == ["terminated"] * 7
        assert len(grown.shown(generation)[WIDE.layout.table]) == 6 * 21


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_what_all_processes_read_has_one_letter(tmp_path: Path) -> None:
    with cluster(tmp_path) as grown:
        gateways = [grown.gateway(), grown.gateway()]
        create_benchmark(gateways[0])
        processes = [*gateways, grown.server("worker")]
        log = ThreadLog(grown.kafka)
        envelope = Envelope(event="", version=0, subject=LOCAL_SUBJECT, received_at=0)
        for number in range(10):
            log.append_now(CATALOG_TOPIC, [RawRecord(bytes(16), envelope, b"junk %d" % number)])
        records = log.end(CATALOG_TOPIC)
        log.close()

        def lag() -> float:
            return sum(scrape(url).sum("tupli_lag_records", topic=CATALOG_TOPIC) for url in processes)

        eventually(lambda: lag() == 0, 60)
        assert records >= 10
        for url in gateways:
            letters = tupli(url, "list")["letters"]
            assert [letter["topic"] for letter in letters] == [CATALOG_TOPIC] * 10
            assert len({letter["position"]["offset"] for letter in letters}) == 10
        assert sum(scrape(url).sum("tupli_dead_letters_total") for url in processes) == 10
