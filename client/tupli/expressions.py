"""Filters as text, for the command line: `reward > 0.5 and observation[0] < 0`.

    reward > 0.5                       =, ==, !=, <, <=, >, >=; the value may also come first
    0 < reward <= 1                    both
    status in ['terminated', 'aborted'], status not in [...]
    observation[2] between -0.1 and 0.1
    exists info.error, info.success    the second: it is true; also is_true(info.success), is_false(...)
    not (...), and, or                 `not` binds strongest, then `and`, then `or`

Text stands in quotes. A name with dots or other signs of its own stands in backquotes: info.`TimeLimit.truncated`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from tupli_schemas.errors import FilterError
from tupli_schemas.filters import (
    BaseFilter,
    F,
    FilterAND,
    FilterEQ,
    FilterGEQ,
    FilterGT,
    FilterLEQ,
    FilterLT,
    FilterNE,
    FilterOR,
)
from tupli_schemas.paths import quoted, read_quoted

MAX_LENGTH: Final = 100_000
MAX_NESTING: Final = 64

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])|[-+](?:inf|nan)\b)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<key>[^\W\d][\w%-]*(?:\.(?:`(?:[^`]|``)*`|[\w%-]+)|\[[^\]'"\[]*\])*)
      | (?P<sign><=|>=|==|!=|[<>=(),\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS: Final = {"and", "or", "not", "in", "between", "exists"}
_CONSTANTS: Final = {"true": True, "false": False, "nan": float("nan"), "inf": float("inf")}
_NOTHING: Final = {"none", "null"}
_KINDS: Final = {
    "=": FilterEQ,
    "==": FilterEQ,
    "!=": FilterNE,
    "<": FilterLT,
    "<=": FilterLEQ,
    ">": FilterGT,
    ">=": FilterGEQ,
}
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_Made = TypeVar("_Made", bound=BaseFilter)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", "'": "'", '"': '"'}


class ExpressionError(FilterError):
    """Text that is no filter; `position` counts characters from 0, and the message shows the place."""

    def __init__(self, message: str, text: str, position: int) -> None:
        start = max(text.rfind("\n", 0, position) + 1, position - 60)
        end = text.find("\n", position)
        line = text[start : len(text) if end < 0 else end][:120]
        super().__init__(f"{message}\n  {line}\n  {' ' * (position - start)}^")
        self.position = position


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def word(self) -> str:
        """The keyword that this is, if it is one."""
        return self.text.lower() if self.kind == "key" and self.text.lower() in _WORDS else ""


@dataclass(frozen=True, slots=True)
class _Operand:
    at: int
    key: str = ""
    value: Any = None


def parse_expression(text: str) -> BaseFilter:
    """The filter of a text.

    Raises:
        ExpressionError: The text is no filter; position and message say where.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters", text[:40], 0)
    return _Parser(text, _tokens(text)).whole()


def _tokens(text: str) -> list[_Token]:
    out = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(_advice(text, at), text, at)
        if match.lastgroup != "space":
            out.append(_Token(str(match.lastgroup), match.group(), at))
        at = match.end()
    return [*out, _Token("end", "", len(text))]


def _advice(text: str, at: int) -> str:
    if text[at] in "'\"`":
        return f"the {text[at]} is not closed"
    if text[at] in "&|~!":
        return f"{text[at]!r} is no sign of an expression: write `and`, `or`, `not`"
    return f"{text[at]!r} is not understood here"


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str, tokens: Sequence[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._next = 0
        self._nesting = 0

    def whole(self) -> BaseFilter:
        found = self._either()
        if self._token.kind != "end":
            self._fail(f"{self._token.text!r} is one too many; conditions are joined by `and` or `or`")
        return found

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += token.kind != "end"
        return token

    def _fail(self, message: str, at: int | None = None) -> NoReturn:
        raise ExpressionError(message, self._text, self._token.at if at is None else at)

    def _accept(self, sign: str) -> bool:
        if self._token.word == sign or (self._token.kind == "sign" and self._token.text == sign):
            self._take()
            return True
        return False

    def _expect(self, sign: str, why: str) -> None:
        if not self._accept(sign):
            self._fail(f"`{sign}` is missing {why}")

    def _either(self) -> BaseFilter:
        start = self._token.at
        members = [self._all()]
        while self._accept("or"):
            members.append(self._all())
        return members[0] if len(members) == 1 else self._made(FilterOR, members, at=start)

    def _all(self) -> BaseFilter:
        start = self._token.at
        members = [self._negated()]
        while self._accept("and"):
            members.append(self._negated())
        return members[0] if len(members) == 1 else self._made(FilterAND, members, at=start)

    def _negated(self) -> BaseFilter:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self._fail("is nested too deeply")
        try:
            start = self._token.at
            if self._accept("not"):
                inner = self._negated()
                return self._made(_complement, inner, at=start)
            return self._condition()
        finally:
            self._nesting -= 1

    def _condition(self) -> BaseFilter:
        if self._accept("("):
            inner = self._either()
            self._expect(")", "here")
            return inner
        if self._accept("exists"):
            return F(self._key_in_brackets("exists")).exists()
        if self._token.text in {"is_true", "is_false"} and self._tokens[self._next + 1].text == "(":
            name = self._take().text
            key = F(self._key_in_brackets(name))
            return key.is_true() if name == "is_true" else key.is_false()
        return self._comparison()

    def _key_in_brackets(self, name: str) -> str:
        bracket = self._accept("(")
        operand = self._operand()
        if not operand.key:
            self._fail(f"{name} takes a key like `info.success`", operand.at)
        if bracket:
            self._expect(")", f"after the key of {name}")
        return operand.key

    def _comparison(self) -> BaseFilter:
        left = self._operand()
        if self._token.text in _KINDS and self._token.kind == "sign":
            return self._chain(left)
        if not left.key:
            self._fail("a value alone is no condition", left.at)
        if self._accept("between"):
            return self._between(left.key)
        refused = self._token.word == "not" and self._tokens[self._next + 1].word == "in"
        if refused:
            self._take()
        if self._accept("in"):
            found = self._made(F(left.key).isin, self._list(), at=left.at)
            return ~found if refused else found
        return F(left.key).is_true()

    def _chain(self, left: _Operand) -> BaseFilter:
        start = left.at
        members = []
        while self._token.kind == "sign" and self._token.text in _KINDS:
            sign = self._take()
            right = self._operand()
            members.append(self._pair(left, sign, right))
            left = right
        return members[0] if len(members) == 1 else self._made(FilterAND, members, at=start)

    def _pair(self, left: _Operand, sign: _Token, right: _Operand) -> BaseFilter:
        if bool(left.key) == bool(right.key):
            what = "two keys" if left.key else "two values"
            self._fail(
                f"`{sign.text}` between {what}: a key compares with a value (text stands in quotes)", sign.at
            )
        key, value, name = (
            (left.key, right.value, sign.text)
            if left.key
            else (right.key, left.value, _TURNED.get(sign.text, sign.text))
        )
        kind = _KINDS[name]
        return self._made(lambda operand: kind(key, operand), value, at=left.at)

    def _between(self, key: str) -> BaseFilter:
        low = self._value("between")
        self._expect("and", "between the two values of `between`")
        high = self._value("between")
        return self._made(lambda low_high: F(key).between(*low_high), (low.value, high.value), at=low.at)

    def _list(self) -> list[Any]:
        closing = ")" if self._token.text == "(" else "]"
        if not (self._accept("[") or self._accept("(")):
            self._fail("`in` takes a list like ['a', 'b']")
        values = []
        while not self._accept(closing):
            values.append(self._value("in").value)
            if not self._accept(","):
                self._expect(closing, "at the end of the list")
                break
        return values

    def _value(self, name: str) -> _Operand:
        operand = self._operand()
        if operand.key:
            self._fail(f"{name} takes values; text stands in quotes: '{quoted(operand.key)}'", operand.at)
        return operand

    def _operand(self) -> _Operand:
        token = self._take()
        if token.kind == "number":
            return _Operand(token.at, value=_number(token.text))
        if token.kind == "text":
            return _Operand(token.at, value=self._unquoted(token))
        if token.kind != "key" or token.word:
            shown = repr(token.text) if token.text else "the end"
            self._fail(f"a key or a value belongs here, not {shown}", token.at)
        if token.text.lower() in _CONSTANTS:
            return _Operand(token.at, value=_CONSTANTS[token.text.lower()])
        if token.text.lower() in _NOTHING:
            self._fail("nothing compares with None: write `exists KEY` or `not exists KEY`", token.at)
        return _Operand(token.at, key=read_quoted(token.text))

    def _unquoted(self, token: _Token) -> str:
        def plain(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPES:
                self._fail(f"unknown escape \\{match[1]}", token.at + 1 + match.start())
            return _ESCAPES[match[1]]

        return re.sub(r"\\(.)", plain, token.text[1:-1], flags=re.DOTALL)

    def _made(self, make: Callable[[Any], _Made], value: Any, *, at: int) -> _Made:
        """What `make` makes of the value; what it refuses is shown in the text."""
        try:
            return make(value)
        except ExpressionError:
            raise
        except FilterError as error:
            raise ExpressionError(error.reason, self._text, at) from error


def _complement(item: BaseFilter) -> BaseFilter:
    return ~item


def _number(text: str) -> int | float:
    plain = text.replace("_", "")
    return int(plain) if re.fullmatch(r"[-+]?\d{1,400}", plain) else float(plain)
