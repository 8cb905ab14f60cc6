"""What the standalone process can be told."""

import os
from dataclasses import dataclass
from pathlib import Path

from tupli_standalone.guard import LOOPBACK_NAMES

DEFAULT_PORT = 8080


class RefusedSetting(ValueError):
    """A setting that this process will not start with; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the data lives and where to listen.

    Raises:
        RefusedSetting: The host is not this machine, the port is none, or the engine cannot have the folder.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    log_format: str = "console"
    log_level: str = "info"
    stop_timeout: float = 20.0

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK_NAMES:
            raise RefusedSetting(
                f"--host {self.host}: refused. This version has no accounts, so everybody who reaches the port could "
                "read and delete everything; only 127.0.0.1, localhost and ::1 can be bound."
            )
        if "?" in str(self.data.resolve()):
            raise RefusedSetting(f"--data {self.data}: the engine would cut the folder's name at the `?`")
        if not 0 <= self.port < 65536:
            raise RefusedSetting(f"--port {self.port} is not a port")


def default_data_dir() -> Path:
    """`TUPLI_DATA`, else the user's data directory (XDG Base Directory Specification)."""
    if given := os.environ.get("TUPLI_DATA"):
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "tupli"
