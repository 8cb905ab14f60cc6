"""Settings of the ingest service, from `TUPLI_INGEST_*` variables; every figure has its unit in its name."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class IngestSettings(BaseSettings):
    """What an operator may choose."""

    model_config = SettingsConfigDict(
        env_prefix="TUPLI_INGEST_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    # The gateway
    max_body_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    max_event_bytes: int = Field(default=12 * 1024 * 1024, gt=0)
    max_command_bytes: int = Field(default=4 * 1024 * 1024, gt=0)
    linger_ms: int = Field(
        default=50, ge=0, description="how long a lone recorder may gather rows before it sends"
    )
    command_timeout_s: float = Field(default=10.0, gt=0, description="then a command is answered with 202")
    retry_after_s: int = Field(default=1, gt=0)

    # Records that went straight to Kafka
    grant_keys: Path | None = Field(
        default=None,
        description="keys that verify recording grants; without it such records are dead letters",
    )

    @field_validator("grant_keys", mode="before")
    @classmethod
    def _is_a_file(cls, given: Any) -> Any:
        if given == "":
            raise ValueError("is empty: leave it out, or name a file")
        return given

    # The log
    log_queue_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    log_commit_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    log_reserve_bytes: int = Field(
        default=64 * 1024 * 1024, ge=0, description="space that appends leave free"
    )

    # The processor
    read_bytes: int = Field(default=4 * 1024 * 1024, gt=0, description="read from the log at once")
    block_bytes: int = Field(default=8 * 1024 * 1024, gt=0)
    block_rows: int = Field(default=200_000, gt=0)
    worker_block_bytes: int = Field(
        default=32 * 1024 * 1024,
        gt=0,
        description="events of a worker's block where so much waits; as much again may wait meanwhile",
    )
    retry_max_s: float = Field(default=5.0, gt=0)
    max_step_tables: int = Field(default=500, gt=0)
    dead_letter_ratio: float = Field(default=0.2, gt=0, le=1)
    dead_letter_window: int = Field(default=1_000, gt=0, description="records over which the ratio is taken")
    dead_letter_run: int = Field(
        default=100, gt=0, description="so many dead letters in a row stop the processor"
    )
    catchup_pause_records: int = Field(
        default=2_000, gt=0, description="a rebuild pauses the live one this close to the end"
    )
    old_generation_grace_s: float = Field(default=60.0, ge=0)

    watchdog_s: float = Field(
        default=180.0,  # longer than a statement of the store, a call of the log or a rebalance may take
        gt=0,
        description="a worker that stands still for so long with records waiting ends itself",
    )
    group_session_s: float = Field(
        default=15.0, ge=1, le=30, description="a worker that is silent for so long has left its group"
    )

    # Who looks on
    metrics: bool = Field(default=True, description="count, and answer GET /metrics")
    traces: bool = Field(default=False, description="send spans over OTLP/HTTP; OTEL_* says where to")
    ready_lag_records: int | None = Field(
        default=None, ge=0, description="a worker with more records to do is not ready; nothing: it is"
    )
    ready_silence_s: float = Field(
        default=15.0, gt=0, description="a worker whose store has not answered for so long is not ready"
    )

    # Logs
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
