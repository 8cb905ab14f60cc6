"""Gateway, worker, commands and a direct recorder prove to the broker who they are: TLS and SASL, on the real one."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster, cluster
from support.direct_records import Deployment, direct_events
from support.ingest_sender import create_benchmark, filled, send_events
from support.ingest_streams import BENCHMARK, StreamOfItems
from support.kafka_security import WAYS, SecureBroker, secure_broker, unsecured_token
from tupli.transport.kafka import KafkaTransport
from tupli_ingest.adapters.grant_issuing import GrantOrder, write_grant
from tupli_schemas.events import encode_event
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import LOCAL_SUBJECT, make_id

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure")) as made:
        yield made


@pytest.fixture
def grown(tmp_path: Path, secure: SecureBroker) -> Iterator[Cluster]:
    with cluster(tmp_path, broker=secure.broker.bootstrap) as made:
        yield made


@pytest.mark.parametrize("way", WAYS)
def test_who_proves_who_he_is_does_everything(
    way: str, secure: SecureBroker, grown: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(tmp_path)
    grown.more |= secure.environment(way) | {"TUPLI_INGEST_GRANT_KEYS": str(deployment.keys)}
    replication = ["--replication", "1", "--min-insync-replicas", "1"]
    made = grown.run("create-topics", "--partitions", str(grown.partitions), *replication)
    assert set(made.values()) == {"exists"}
    url = grown.gateway()
    create_benchmark(url)
    worker = grown.worker()
    stream = filled(StreamOfItems(make_id(1_700_000_000_000, 1)))
    events = stream.events(cut=25)
    send_events(url, events)
    for name, value in (
        secure.environment(way) | {"TUPLI_KAFKA_TOPIC_PREFIX": grown.kafka.topic_prefix}
    ).items():
        monkeypatch.setenv(name, value)
    order = GrantOrder(subject=LOCAL_SUBJECT, benchmark=BENCHMARK, seconds=3_600)
    write_grant(deployment.private, order, tmp_path / "grant", int(time.time()))
    transport = KafkaTransport(f"kafka://127.0.0.1:{secure.ports[way]}", tmp_path / "grant")
    direct = direct_events()
    body = b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in direct)
    assert transport.send_events(body).accepted == len(direct)
    transport.close()
    grown.settled()
    shown = grown.assert_as_the_log_says()
    assert len(shown["streams"]) == 2
    assert grown.dead_letters() == []
    assert worker.is_running


def without_certificate(secure: SecureBroker) -> dict[str, str]:
    names = ("TUPLI_KAFKA_SSL_CERTFILE", "TUPLI_KAFKA_SSL_KEYFILE")
    return {name: value for name, value in secure.environment("TLS").items() if name not in names}


def with_another_password(secure: SecureBroker) -> dict[str, str]:
    return secure.environment("SCRAM") | {"TUPLI_KAFKA_SASL_PASSWORD": "another"}


def with_an_old_token(secure: SecureBroker) -> dict[str, str]:
    found = secure.environment("OAUTH")
    Path(found["TUPLI_KAFKA_SASL_TOKEN_FILE"]).write_text(unsecured_token("alice", -60), encoding="utf-8")
    return found


@pytest.mark.parametrize("how", [without_certificate, with_another_password, with_an_old_token])
def test_whoever_cannot_does_nothing_and_is_told(
    how: Callable[[SecureBroker], dict[str, str]], secure: SecureBroker, grown: Cluster
) -> None:
    command = ["create-topics", "--replication", "1", "--min-insync-replicas", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "tupli_ingest", *command],
        env=grown.environment | how(secure),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "the brokers do not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert "another" not in done.stderr
