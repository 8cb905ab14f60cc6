"""ClickHouse's errors in the words of the store port, the same for the engine in process and over HTTP."""

import contextlib
import errno
import ssl
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from tupli_ingest.core.errors import RowsRefused, StoreFull, StoreUnavailable

# Codes with which the engine says that the rows themselves are at fault (ErrorCodes.cpp): sizes or types that
# do not match, text that cannot be parsed, values out of range. Anything else may pass later, and is tried
# again.
_CODES_OF_ROWS: Final = frozenset(
    {6, 9, 20, 26, 27, 36, 38, 41, 43, 44, 53, 69, 70, 72, 117, 131, 190, 321, 349, 467}
)
_NO_SPACE: Final = 243

_ACCOUNT: Final = "the store refuses our account (code {}): TUPLI_CLICKHOUSE_USER and TUPLI_CLICKHOUSE_PASSWORD say who we are"
_RIGHTS: Final = (
    "our account may not do that in the store (code {}): give it the right, or see TUPLI_CLICKHOUSE_USER"
)
_TABLES: Final = (
    "the store lacks tables of ours (code {}): `tupli admin migrate` makes them;"
    " or it is another store, see TUPLI_CLICKHOUSE_HOST and TUPLI_CLICKHOUSE_PORT"
)
_COLUMNS: Final = (
    "the store's tables are of another version (code {}): `tupli admin migrate` brings them to this one"
)
_WITH_A_WAY_OUT: Final = (
    dict.fromkeys((192, 193, 194, 516), _ACCOUNT)
    | {497: _RIGHTS}
    | dict.fromkeys((60, 81), _TABLES)
    | dict.fromkeys((16, 47), _COLUMNS)
)
"""Codes with which nothing will pass before an operator does something, and what; ErrorCodes.cpp."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into the port's errors.

    Raises:
        RowsRefused: The rows themselves are at fault.
        StoreFull: No space.
        StoreUnavailable: Anything else.
    """
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        if code == _NO_SPACE or "No space left" in str(error):
            raise StoreFull("the store's file system is full") from error
        if code in _CODES_OF_ROWS:
            raise RowsRefused(f"the store refuses the rows (code {code})") from error
        raise StoreUnavailable(_told(error, code)) from error
    except (OSError, pa.ArrowException, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise StoreFull("the store's file system is full") from error
        raise StoreUnavailable(f"the store does not answer ({_reason(error)})") from error


def _told(error: ClickHouseError, code: int | None) -> str:
    """Why the store cannot be used, and what to do where waiting does not help; nothing of the engine's text."""
    if code is None:  # the driver found no server, or one that does not speak for itself
        return f"the store does not answer ({_reason(error)})"
    return _WITH_A_WAY_OUT.get(code, "the store does not answer (code {})").format(code)


def _reason(error: BaseException) -> str:
    """What the operating system, TLS or HTTP says at the bottom of an error; else the error's kind."""
    found: BaseException | None = error
    deepest = error
    while found is not None:
        deepest = found
        if isinstance(found, ssl.SSLError):
            return f"TLS: {str(getattr(found, 'reason', '') or 'failed').replace('_', ' ').lower()}"
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        inner = getattr(found, "reason", None)  # urllib3's
        found = inner if isinstance(inner, BaseException) else found.__cause__ or found.__context__
    return type(deepest).__name__
