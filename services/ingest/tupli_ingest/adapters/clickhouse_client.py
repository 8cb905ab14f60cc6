"""ClickHouse over HTTP: statements and inserts through clickhouse-connect, with errors in the port's words."""

import ssl
import threading
from concurrent.futures import wait
from pathlib import Path
from typing import Any, Final, Self

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver import httputil
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tupli_ingest.adapters.clickhouse_cluster import cluster_settings, on_cluster
from tupli_ingest.adapters.clickhouse_driver import READ_SETTINGS, DriverClient, write_stream
from tupli_ingest.adapters.clickhouse_errors import translated
from tupli_ingest.adapters.daemon_threads import DaemonThreads
from tupli_ingest.adapters.tls_files import require_files
from tupli_schemas.tables import FINAL_SETTINGS, INSERT_SETTINGS

HALVED_BYTES: Final = 8 * 1024 * 1024
"""An insert from this size on goes in two parts at once: a server reads, sorts and syncs each on a thread of its own."""
CONNECTIONS: Final = 32
"""So many are kept for who asks next; as many threads as there are may ask at once."""
_READ_SETTINGS: Final = READ_SETTINGS | {"output_format_arrow_compression_method": "none"}


class ClickHouseConnection(BaseSettings):
    """`TUPLI_CLICKHOUSE_*`: the server, and who we are to it."""

    model_config = SettingsConfigDict(
        env_prefix="TUPLI_CLICKHOUSE_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    host: str = Field(description="a name or an address", min_length=1)
    port: int = Field(default=8123, gt=0, lt=65_536)
    secure: bool = False
    ca_file: Path | None = Field(default=None, description="certificates that sign the server's")
    user: str = "default"
    password: SecretStr = SecretStr("")
    connect_timeout_s: int = Field(default=5, gt=0)
    answer_timeout_s: int = Field(default=60, gt=0, description="then a statement counts as not answered")
    cluster: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="name of the cluster, of one shard, that has all tables replicated; empty: a server of its own",
    )

    @classmethod
    def from_environment(cls) -> Self:
        """What the environment says.

        Raises:
            ValidationError: Something is missing, or does not hold together.
            OSError: The file of certificates cannot be read, or is none; the message names it.
        """
        made = cls()  # type: ignore[call-arg]  # the environment has what is required
        if made.secure and made.ca_file is not None:
            files = {"TUPLI_CLICKHOUSE_CA_FILE": made.ca_file}
            require_files(files, lambda: ssl.create_default_context(cafile=made.ca_file))
        return made

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, text: str) -> str:
        if "/" in text or any(map(str.isspace, text)):
            raise ValueError("is a name or an address: TUPLI_CLICKHOUSE_SECURE and _PORT say the rest")
        return text

    def options(self) -> dict[str, Any]:
        """What clickhouse-connect takes; each client has connections of its own, and no session."""
        return {
            "interface": "https" if self.secure else "http",
            "host": self.host,
            "port": self.port,
            "username": self.user,
            "password": self.password.get_secret_value(),
            "ca_cert": None if self.ca_file is None else str(self.ca_file),
            "connect_timeout": self.connect_timeout_s,
            "send_receive_timeout": self.answer_timeout_s,
            "compress": False,
            "query_retries": 0,
            "autogenerate_session_id": False,  # a session takes one statement at a time
            "pool_mgr": None if self.secure else httputil.get_pool_manager(maxsize=CONNECTIONS),
            "settings": cluster_settings(self.answer_timeout_s) if self.cluster else {},
        }


class ClickHouseClient(DriverClient):
    """Statements and inserts on one server; used by any number of threads.

    It connects when it is first used, so that a service starts while the server is away.
    """

    def __init__(self, connection: ClickHouseConnection) -> None:
        self._options = connection.options()
        self.cluster = connection.cluster
        self._made: Any = None
        self._making = threading.Lock()
        self._beside = DaemonThreads()

    def command(self, sql: str, settings: dict[str, Any] | None = None) -> None:
        """Run a statement that answers nothing; on a cluster, on all its hosts.

        Raises:
            StoreUnavailable: It failed.
        """
        super().command(on_cluster(sql, self.cluster) if self.cluster else sql, settings)

    def table(self, sql: str) -> pa.Table:
        """A query's whole answer, read with the pinned settings of FINAL; text and bytes as binary."""
        with translated():
            answer = self._client.raw_query(sql, settings=_READ_SETTINGS | FINAL_SETTINGS, fmt="Arrow")
            return pa.ipc.open_file(pa.py_buffer(answer)).read_all()

    def insert(self, database: str, table: str, rows: pa.Table) -> None:
        """Insert rows, synced to disk on return; many of them in two parts at once.

        Raises:
            RowsRefused: The rows themselves are at fault.
            StoreFull: No space.
            StoreUnavailable: Anything else; the same rows may be tried again.
        """
        if rows.nbytes < HALVED_BYTES:
            self._insert(database, table, rows)
            return
        half = rows.num_rows // 2
        second = self._beside.submit(self._insert, database, table, rows.slice(half))
        try:
            self._insert(database, table, rows.slice(0, half))
        finally:
            wait((second,))  # whoever tries again meets no insert of his own
        second.result()

    def _insert(self, database: str, table: str, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        write_stream(sink, rows)
        with translated():
            self._client.raw_insert(
                f"{database}.{table}",
                rows.schema.names,
                sink.getvalue().to_pybytes(),
                settings=INSERT_SETTINGS,
                fmt="ArrowStream",
            )

    def close(self) -> None:
        """Let go of the connections."""
        with self._making:
            if self._made is not None:
                self._made.close()

    @property
    def _client(self) -> Any:
        """The driver, connected."""
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = clickhouse_connect.get_client(**self._options)
        return self._made
