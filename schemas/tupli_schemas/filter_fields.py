"""`F`: a key, to be compared; the way to write a filter in Python."""

from collections.abc import Iterable
from typing import Any, NoReturn

from tupli_schemas.errors import FilterError
from tupli_schemas.filter_tree import (
    ADVICE,
    BaseFilter,
    FilterBETWEEN,
    FilterEQ,
    FilterEXISTS,
    FilterGEQ,
    FilterGT,
    FilterIN,
    FilterLEQ,
    FilterLT,
    FilterNE,
    NoTruth,
    check_key,
)
from tupli_schemas.paths import KeyPath, escape_key, read_quoted


class F(NoTruth):
    """A key, to be compared: `F("reward") > 0.5`, `F("status").isin(["aborted"])`, `F("info", "a.b") == 1`.

    Further arguments are names inside the first one and may have dots of their own:
    `F("info", "TimeLimit.truncated")` is the one key `TimeLimit.truncated` of an info,
    `F("info.TimeLimit.truncated")` the key `truncated` of a dict `TimeLimit` in it. The same for
    observations, actions and extra facts: `F("observation", "n.x")[0]` is the first element of the member
    `n.x` of a Dict observation. Backquotes in the first argument do the same, as error messages and the
    command line have them: F("info.`TimeLimit.truncated`"); a backquote of the name itself is doubled in them.
    """

    __slots__ = ("key",)
    __hash__ = None  # type: ignore[assignment]  # == makes a filter, so a key cannot be found in a dict

    def __init__(self, key: str, *parts: str) -> None:
        self.key = KeyPath(".".join((read_quoted(check_key(key)), *(escape_key(part) for part in parts))))

    def __repr__(self) -> str:
        return f"F({self.key!r})"

    def __getitem__(self, index: int | tuple[int, ...]) -> "F":
        """An element: `F("observation")[2]`, `F("observation")[0, 1]`."""
        numbers = index if isinstance(index, tuple) else (index,)
        if not all(type(number) is int for number in numbers):
            raise TypeError(f"an element is named by whole numbers, not {index!r}")
        return F(KeyPath(f"{self.key}[{','.join(map(str, numbers))}]"))

    def __eq__(self, value: object) -> FilterEQ:  # type: ignore[override]  # a condition, not an answer
        return FilterEQ(self.key, self._operand(value, "=="))

    def __ne__(self, value: object) -> FilterNE:  # type: ignore[override]  # a condition, not an answer
        return FilterNE(self.key, self._operand(value, "!="))

    def __gt__(self, value: Any) -> FilterGT:
        return FilterGT(self.key, self._operand(value, ">"))

    def __ge__(self, value: Any) -> FilterGEQ:
        return FilterGEQ(self.key, self._operand(value, ">="))

    def __lt__(self, value: Any) -> FilterLT:
        return FilterLT(self.key, self._operand(value, "<"))

    def __le__(self, value: Any) -> FilterLEQ:
        return FilterLEQ(self.key, self._operand(value, "<="))

    def __and__(self, other: object) -> NoReturn:
        raise TypeError(
            f"{self!r} alone is no condition; for a truth value write {self!r}.is_true(); {ADVICE}"
        )

    __or__ = __rand__ = __ror__ = __and__

    def __invert__(self) -> NoReturn:
        raise TypeError(f"{self!r} alone is no condition: ~{self!r}.is_true() or ~{self!r}.exists()")

    def isin(self, values: Iterable[Any]) -> FilterIN:
        """The value equals one of `values`; none when there are none."""
        return FilterIN(self.key, values)  # type: ignore[arg-type]  # checked and made a tuple by FilterIN

    def between(self, low: Any, high: Any) -> FilterBETWEEN:
        """`low <= value <= high`."""
        return FilterBETWEEN(self.key, low, high)

    def is_true(self) -> FilterEQ:
        """The value is True (or 1)."""
        return FilterEQ(self.key, value=True)

    def is_false(self) -> FilterEQ:
        """The value is False (or 0); a missing value is not."""
        return FilterEQ(self.key, value=False)

    def exists(self) -> FilterEXISTS:
        """There is a value, also None."""
        return FilterEXISTS(self.key)

    def _operand(self, value: object, operator: str) -> Any:
        if value is None:
            raise FilterError(
                f"{self!r} {operator} None: nothing compares with None; "
                f"write {self!r}.exists() or ~{self!r}.exists()",
                place="value",
            )
        if isinstance(value, F | BaseFilter):
            raise FilterError(
                f"{self!r} {operator} {value!r}: a key compares with a value only; {ADVICE}", place="value"
            )
        return value
