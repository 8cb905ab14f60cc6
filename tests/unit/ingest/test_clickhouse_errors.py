"""What ClickHouse says is told in our words: what to do where waiting does not help, and nothing of the engine's text."""

import socket
import ssl

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from tupli_ingest.adapters.clickhouse_errors import translated
from tupli_ingest.core.errors import StoreUnavailable

SECRET = "somebody else's value"


def told(error: Exception) -> str:
    with pytest.raises(StoreUnavailable) as found, translated():
        raise error
    return str(found.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (516, ["account", "TUPLI_CLICKHOUSE_USER", "TUPLI_CLICKHOUSE_PASSWORD"]),
        (192, ["TUPLI_CLICKHOUSE_USER"]),
        (497, ["may not", "TUPLI_CLICKHOUSE_USER"]),
        (81, ["tables", "`tupli admin migrate`", "TUPLI_CLICKHOUSE_HOST"]),
        (60, ["tables", "`tupli admin migrate`"]),
        (16, ["version", "`tupli admin migrate`"]),
        (47, ["version", "`tupli admin migrate`"]),
        (241, ["does not answer"]),
    ],
)
def test_what_to_do_is_told_with_the_code(code: int, words: list[str]) -> None:
    said = told(DatabaseError(f"Code: {code}. DB::Exception: {SECRET}", code=code))
    assert [word for word in [*words, f"(code {code})"] if word not in said] == []
    assert SECRET not in said


def test_a_server_that_is_not_there_has_no_code() -> None:
    assert told(OperationalError(SECRET)) == "the store does not answer (OperationalError)"


class Retried(Exception):
    """As urllib3 has it: the reason is a member."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(SECRET)
        self.reason = reason


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (
            Retried(caused(RuntimeError(SECRET), socket.gaierror(-2, "Name or service not known"))),
            "Name or service",
        ),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS: "),
        (Retried(RuntimeError(SECRET)), "RuntimeError"),
    ],
)
def test_the_reason_at_the_bottom_is_told(cause: Exception, reason: str) -> None:
    said = told(caused(OperationalError(SECRET), cause))
    assert said.startswith(f"the store does not answer ({reason}")
    assert SECRET not in said
