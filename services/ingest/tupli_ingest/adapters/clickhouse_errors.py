"""ClickHouse's errors in the words of the store port, the same for the engine in process and over HTTP."""

import contextlib
import errno
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
        raise StoreUnavailable(f"the store does not answer (code {code})") from error
    except (OSError, pa.ArrowException, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise StoreFull("the store's file system is full") from error
        raise StoreUnavailable(f"the store does not answer ({type(error).__name__})") from error
