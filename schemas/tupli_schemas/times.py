"""Times as text. As numbers they are Unix nanoseconds, in events and in the store."""

import datetime as dt
from typing import Final

_SECOND: Final = 1_000_000_000


def time_text(nanoseconds: int) -> str:
    """Unix nanoseconds as ISO 8601 in UTC, to the microsecond."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=rest // 1_000)
    return moment.isoformat(timespec="microseconds")
