"""`python -m tupli_ingest gateway | worker | ...`: the processes and the commands of the grown system."""

import argparse
import asyncio
import json
import math
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tupli_ingest.adapters.allocators import keep_little_free_memory
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient, ClickHouseConnection
from tupli_ingest.adapters.clickhouse_cluster import require_fit
from tupli_ingest.adapters.daemon_threads import DaemonThreads
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.grant_issuing import GrantOrder, new_key, retire_key, write_grant
from tupli_ingest.adapters.grant_keys import MAX_LIFETIME_S
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_topics import TopicPlan, create_topics_now
from tupli_ingest.adapters.reader_account import ReaderAccount, ReaderSettings
from tupli_ingest.core.errors import IngestError
from tupli_ingest.grown.gateway_http import GatewayHttp
from tupli_ingest.grown.parts import GatewayParts, once_available
from tupli_ingest.grown.worker_http import WorkerHttp
from tupli_ingest.grown.workers import WorkerParts
from tupli_ingest.logs import adopt_standard_logging, configure_logging
from tupli_ingest.observing import observe
from tupli_ingest.serving import bound, serve, serving, stop_on_signals
from tupli_ingest.settings import IngestSettings
from tupli_ingest.variables import tell_unknown_variables
from tupli_ingest.waiting import once_answered
from tupli_schemas.addresses import port
from tupli_schemas.errors import ContractError
from tupli_schemas.ids import LOCAL_SUBJECT, id_text, parse_id
from tupli_schemas.problems import error_document
from tupli_schemas.variables import wrong_variables

READ: Final = (IngestSettings, KafkaConnection, ClickHouseConnection, ReaderSettings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of them; 0 when it was asked to end, 1 when something ended it, 2 for what cannot start."""
    given = _parser().parse_args(arguments)
    try:
        settings = IngestSettings()
        service = f"tupli-{given.command}"
        configure_logging(form=settings.log_format, level=settings.log_level, service=service)
        adopt_standard_logging(form=settings.log_format, level=settings.log_level, service=service)
        tell_unknown_variables(os.environ, READ, elsewhere=("TUPLI_QUERY_", "TUPLI_AUTH_"))
        return int(given.run(given, settings))
    except ValidationError as error:
        return _refused(given, error, wrong_variables(error, READ))
    except (IngestError, ContractError, OSError) as error:
        return _refused(given, error, str(error))


def _refused(given: argparse.Namespace, error: Exception, detail: str) -> int:
    """Tell why it does not run; the exit code."""
    if given.json:
        sys.stderr.write(json.dumps(error_document(error, detail)) + "\n")
    else:
        sys.stderr.write(f"tupli_ingest {given.command}: {detail}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tupli_ingest", description="The processes of a Tupli deployment.")
    parser.add_argument(
        "--json", action="store_true", help="tell also what goes wrong as JSON; answers always are"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    gateway = commands.add_parser("gateway", help="take events and commands over HTTP")
    gateway.add_argument("--host", default="127.0.0.1")
    gateway.add_argument("--port", type=port, default=8081)
    gateway.set_defaults(run=_gateway)
    worker = commands.add_parser("worker", help="assemble episodes into the store")
    worker.add_argument("--host", default="127.0.0.1")
    worker.add_argument(
        "--port",
        type=port,
        help="serve /livez, /readyz and /metrics there (0: a free one); left out: nothing",
    )
    worker.set_defaults(run=_worker)
    topics = commands.add_parser("create-topics", help="make the topics that are missing")
    topics.add_argument("--partitions", type=int, default=8)
    topics.add_argument("--replication", type=int, default=3)
    topics.add_argument("--min-insync-replicas", type=int, default=2)
    topics.set_defaults(run=_create_topics)
    migrate = commands.add_parser("migrate", help="bring the store's tables to this version")
    migrate.add_argument(
        "--reader",
        metavar="NAME",
        type=_account_name,
        help="make the query service's account as well; its password: TUPLI_CLICKHOUSE_READER_PASSWORD",
    )
    migrate.add_argument(
        "--wait-s",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="wait for so long for a store that does not answer yet (default: %(default)s)",
    )
    migrate.set_defaults(run=_migrate)
    _add_grant_commands(commands)
    return parser


def _add_grant_commands(commands: Any) -> None:
    key = commands.add_parser("grant-key", help="make, retire or revoke a key that signs recording grants")
    key.add_argument("--keys", type=Path, required=True, help="the set of keys that workers read")
    key.add_argument("--private", type=Path, help="where the new key is kept, for its owner only")
    key.add_argument("--issuer", default="tupli-admin")
    key.add_argument("--retire", metavar="KID", help="this key signs no more")
    key.add_argument(
        "--revoke", metavar="KID", help="nothing is taken any more that this key's grants are for"
    )
    key.set_defaults(run=_grant_key)
    grant = commands.add_parser("grant", help="let a recorder write straight to Kafka")
    grant.add_argument("--private", type=Path, required=True, help="the signing key")
    grant.add_argument("--benchmark", type=_id, required=True, help="its id")
    grant.add_argument("--subject", type=_id, default=LOCAL_SUBJECT, help="whose records they are; an id")
    grant.add_argument("--stream", type=_id, help="an id: for this stream alone")
    grant.add_argument(
        "--hours", type=_grant_hours, default=24.0, help="how long it holds (default: %(default)s)"
    )
    grant.add_argument("--out", type=Path, required=True, help="the grant, for TUPLI_GRANT of one recorder")
    grant.set_defaults(run=_grant)


def _id(text: str) -> bytes:
    """An id as a flag takes it: the one text that it has, and not the one that stands for none."""
    try:
        found = parse_id(text)
    except ContractError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if id_text(found) != text.lower() or not any(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not an id")
    return found


def _grant_hours(text: str) -> float:
    hours = _seconds(text)
    if not 1 <= hours * 3_600 <= MAX_LIFETIME_S:
        raise argparse.ArgumentTypeError(f"a grant holds for a second to {MAX_LIFETIME_S // 3_600} hours")
    return hours


def _seconds(text: str) -> float:
    """A number of a flag that counts time."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no time")
    return found


def _gateway(given: argparse.Namespace, settings: IngestSettings) -> int:
    kafka, clickhouse = KafkaConnection.from_environment(), ClickHouseConnection.from_environment()

    observed = observe(settings, "tupli-gateway")

    async def run() -> int:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        end = stop_on_signals()
        http = GatewayHttp(
            lambda: GatewayParts(settings, kafka, clickhouse, observed),
            observed,
            retry_after_s=settings.retry_after_s,
            end=end.set,
        )
        code = await serve(http, given.host, given.port, end)
        if http.failure is not None:
            raise http.failure
        return code

    with closing(observed):
        return asyncio.run(run())


def _worker(given: argparse.Namespace, settings: IngestSettings) -> int:
    keep_little_free_memory()
    kafka, clickhouse = KafkaConnection.from_environment(), ClickHouseConnection.from_environment()

    observed = observe(settings, "tupli-worker")
    listener = None if given.port is None else bound(given.host, given.port)

    async def run() -> int:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        stop = stop_on_signals()
        http = WorkerHttp(observed, stop)
        async with serving(http.app, listener):
            parts = await once_available(
                lambda: WorkerParts(settings, kafka, clickhouse, observed), stop, http.tell
            )
            if parts is None:
                return 0
            http.parts = parts
            why = await parts.run(stop)
        if why:
            sys.stderr.write(f"tupli_ingest worker: {why}\n")
        return 1 if why else 0

    with closing(observed):
        return asyncio.run(run())


def _create_topics(given: argparse.Namespace, _: IngestSettings) -> int:
    plan = TopicPlan(given.partitions, given.replication, given.min_insync_replicas)
    sys.stdout.write(json.dumps(dict(create_topics_now(KafkaConnection.from_environment(), plan))) + "\n")
    return 0


def _migrate(given: argparse.Namespace, settings: IngestSettings) -> int:
    reader = ReaderSettings.from_environment() if given.reader else None
    with closing(ClickHouseClient(ClickHouseConnection.from_environment())) as client:

        def attempt() -> list[str]:
            require_fit(client, client.cluster)
            ran = Generations(client, max_step_tables=settings.max_step_tables).migrate()
            if reader is not None:
                ReaderAccount.of(given.reader, reader.password).make(client, reader.constraints())
            return ran

        ran = once_answered(attempt, given.wait_s)
    sys.stdout.write(json.dumps({"ran": ran} | ({"reader": given.reader} if reader else {})) + "\n")
    return 0


def _account_name(text: str) -> str:
    """The name of an account of the store.

    Raises:
        argparse.ArgumentTypeError: It is none that needs no quoting.
    """
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", text) is None:
        raise argparse.ArgumentTypeError("a name has up to 64 letters, digits and underscores")
    return text


def _grant_key(given: argparse.Namespace, _: IngestSettings) -> int:
    kid = given.retire or given.revoke
    if (given.private is None) == (kid is None):
        raise ContractError("give one of --private, --retire and --revoke")
    if kid is None:
        kid = new_key(given.private, given.keys, issuer=given.issuer)
    else:
        retire_key(given.keys, kid, int(time.time()), revoke=bool(given.revoke))
    sys.stdout.write(json.dumps({"kid": kid}) + "\n")
    return 0


def _grant(given: argparse.Namespace, _: IngestSettings) -> int:
    order = GrantOrder(
        subject=given.subject,
        benchmark=given.benchmark,
        stream=given.stream,
        seconds=int(given.hours * 3_600),
    )
    sys.stdout.write(json.dumps(write_grant(given.private, order, given.out, int(time.time()))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
