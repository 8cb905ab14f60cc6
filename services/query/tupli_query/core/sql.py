"""SQL text with server-side parameters, and the compiled query.

Values travel only as `{name:Type}` parameters. Text and ids travel as hexadecimal digits
(`unhex({p0:String})`): neither chDB nor the HTTP interface carries every text as it is (line breaks are
refused there, a backslash begins an escape). Identifiers are ours alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tupli_query.core.visibility import Visibility
from tupli_schemas.errors import FilterError
from tupli_schemas.tables import FINAL_SETTINGS

MAX_SQL: Final = 240_000
"""Below the engine's `max_query_size` of 262,144 bytes."""

READ_SETTINGS: Final[dict[str, int | str]] = {**FINAL_SETTINGS, "max_threads": 1}
STREAM_SETTINGS: Final[dict[str, int | str]] = {
    **READ_SETTINGS,
    "max_block_size": 65_536,
    "optimize_read_in_order": 1,
    # Without these a window sorts what is read in its order anyway: 1 GB over 5 M rows.
    "optimize_read_in_window_order": 1,
    "query_plan_reuse_storage_ordering_for_window_functions": 1,
    "output_format_arrow_compression_method": "none",
    "output_format_arrow_string_as_string": 0,
    "output_format_arrow_fixed_string_as_fixed_byte_array": 1,
}

SORTED_SETTINGS: Final[dict[str, int | str]] = {
    **STREAM_SETTINGS,
    # Read in the order of the table, FINAL copies every row to choose among duplicates; read as they lie, it
    # marks them, and the little that a filter leaves is sorted: 40 % less time. Where it leaves much, the
    # engine gives up (0008).
    "optimize_read_in_order": 0,
    "max_bytes_to_sort": 16 * 1024 * 1024,
}

TRUE: Final = "1"
FALSE: Final = "0"


class Params:
    """Parameters of one statement; the same value has one name."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}

    @property
    def values(self) -> dict[str, str]:
        """Names and values, all of them text: both drivers pass text on as it is."""
        return {name: value for (_, value), name in self._names.items()}

    def text(self, value: str) -> str:
        """A text."""
        return self.raw(value.encode("utf-8", "surrogatepass"))

    def raw(self, value: bytes) -> str:
        """Bytes; also compares with FixedString."""
        return f"unhex({self._add('String', value.hex())})"

    def number(self, value: float) -> str:
        """A finite float or an infinity."""
        return self._add("Float64", repr(value))

    def whole(self, value: int) -> str:
        """A whole number; of the narrowest of Int64, UInt64 and Int256 that holds it."""
        if -(2**63) <= value < 2**63:
            return self._add("Int64", str(value))
        return self._add("UInt64" if 0 < value < 2**64 else "Int256", str(value))

    def numbers(self, values: Iterable[float], kind: str) -> str:
        """The right side of IN, for numbers of one ClickHouse type."""
        return self._add(f"Array({kind})", f"[{','.join(map(repr, values))}]")

    def texts(self, values: Iterable[str]) -> str:
        """An array of texts; of at least one."""
        return self.raws(value.encode("utf-8", "surrogatepass") for value in values)

    def raws(self, values: Iterable[bytes]) -> str:
        """An array of byte strings; of at least one."""
        joined = ",".join(value.hex() for value in values)
        return f"arrayMap(x -> unhex(x), splitByChar(',', {self._add('String', joined)}))"

    def ids(self, values: Iterable[bytes]) -> str:
        """An array of ids; of at least one."""
        joined = ",".join(value.hex() for value in values)
        return f"arrayMap(x -> toFixedString(unhex(x), 16), splitByChar(',', {self._add('String', joined)}))"

    def _add(self, kind: str, value: str) -> str:
        name = self._names.setdefault((kind, value), f"p{len(self._names)}")
        return f"{{{name}:{kind}}}"


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A statement that may run: whose eyes it was compiled for is part of it.

    `text` ends with its SETTINGS; `params` are for the `{name:Type}` places in it. There is no way to have
    one without a `Visibility`, whose condition the views of `views` have added.
    """

    visibility: Visibility
    text: str
    params: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.visibility) is not Visibility:
            raise TypeError("a query without a Visibility is not compiled")
        if len(self.text) > MAX_SQL:
            raise FilterError("the filter is too large", place="filter")


def settings_clause(settings: Mapping[str, int | str]) -> str:
    """`SETTINGS a = 1, b = 'x'`, of our own constants."""
    items = (
        f"{name} = {value if isinstance(value, int) else repr(value)}" for name, value in settings.items()
    )
    return f"SETTINGS {', '.join(items)}"


def conjunction(conditions: Iterable[str]) -> str:
    """All of the conditions, each of which binds stronger than AND."""
    kept = [item for item in conditions if item != TRUE]
    if len(kept) < 2:
        return kept[0] if kept else TRUE
    return FALSE if FALSE in kept else f"({' AND '.join(kept)})"


def disjunction(conditions: Iterable[str]) -> str:
    """One of the conditions."""
    kept = [item for item in conditions if item != FALSE]
    if len(kept) < 2:
        return kept[0] if kept else FALSE
    return TRUE if TRUE in kept else f"({' OR '.join(kept)})"
