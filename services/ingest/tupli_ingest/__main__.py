"""`python -m tupli_ingest gateway | worker | admin ...`: the processes of the grown system."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from tupli_ingest.adapters.clickhouse_client import ClickHouseClient, ClickHouseConnection
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_topics import TopicPlan, create_topics_now
from tupli_ingest.cluster import GatewayParts, once_available
from tupli_ingest.core.errors import IngestError
from tupli_ingest.logs import adopt_standard_logging, configure_logging
from tupli_ingest.serving import serve, stop_on_signals
from tupli_ingest.settings import IngestSettings
from tupli_ingest.workers import WorkerParts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of them; 0 when it was asked to end, 1 when something ended it, 2 for what cannot start."""
    given = _parser().parse_args(arguments)
    try:
        settings = IngestSettings()
        configure_logging(form=settings.log_format, level=settings.log_level)
        adopt_standard_logging(form=settings.log_format, level=settings.log_level)
        return int(given.run(given, settings))
    except (IngestError, ValidationError, OSError) as error:
        sys.stderr.write(f"tupli_ingest {given.command}: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tupli_ingest", description="The processes of a Tupli deployment.")
    commands = parser.add_subparsers(dest="command", required=True)
    gateway = commands.add_parser("gateway", help="take events and commands over HTTP")
    gateway.add_argument("--host", default="127.0.0.1")
    gateway.add_argument("--port", type=int, default=8081)
    gateway.set_defaults(run=_gateway)
    worker = commands.add_parser("worker", help="assemble episodes into the store")
    worker.set_defaults(run=_worker)
    topics = commands.add_parser("create-topics", help="make the topics that are missing")
    topics.add_argument("--partitions", type=int, default=8)
    topics.add_argument("--replication", type=int, default=3)
    topics.add_argument("--min-insync-replicas", type=int, default=2)
    topics.set_defaults(run=_create_topics)
    migrate = commands.add_parser("migrate", help="bring the store's tables to this version")
    migrate.set_defaults(run=_migrate)
    return parser


def _gateway(given: argparse.Namespace, settings: IngestSettings) -> int:
    kafka, clickhouse = KafkaConnection.from_environment(), ClickHouseConnection.from_environment()

    async def run() -> int:
        stop = stop_on_signals()
        parts = await once_available(lambda: GatewayParts(settings, kafka, clickhouse), stop)
        if parts is None:
            return 0
        return await serve(parts.app, given.host, given.port)

    return asyncio.run(run())


def _worker(_: argparse.Namespace, settings: IngestSettings) -> int:
    kafka, clickhouse = KafkaConnection.from_environment(), ClickHouseConnection.from_environment()

    async def run() -> int:
        stop = stop_on_signals()
        parts = await once_available(lambda: WorkerParts(settings, kafka, clickhouse), stop)
        if parts is None:
            return 0
        why = await parts.run(stop)
        if why:
            sys.stderr.write(f"tupli_ingest worker: {why}\n")
        return 1 if why else 0

    return asyncio.run(run())


def _create_topics(given: argparse.Namespace, _: IngestSettings) -> int:
    plan = TopicPlan(given.partitions, given.replication, given.min_insync_replicas)
    sys.stdout.write(json.dumps(dict(create_topics_now(KafkaConnection.from_environment(), plan))) + "\n")
    return 0


def _migrate(_: argparse.Namespace, settings: IngestSettings) -> int:
    client = ClickHouseClient(ClickHouseConnection.from_environment())
    try:
        ran = Generations(client, max_step_tables=settings.max_step_tables).migrate()
    finally:
        client.close()
    sys.stdout.write(json.dumps({"ran": ran}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
