"""Settings of the query service."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class QuerySettings(BaseSettings):
    """Read from the environment (`TUPLI_QUERY_...`)."""

    model_config = SettingsConfigDict(env_prefix="TUPLI_QUERY_", extra="ignore")

    max_streams: int = Field(default=16, ge=1, le=256, description="Datasets that are streamed at a time.")
    idle_seconds: float = Field(
        default=30.0, gt=0, description="How long a stream's reader may read nothing."
    )
    threads: int = Field(default=24, ge=2, le=512, description="Threads that wait for the store.")
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
