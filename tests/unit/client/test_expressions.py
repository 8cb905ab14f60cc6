"""Filters as text."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli.expressions import ExpressionError, parse_expression
from tupli_schemas.filters import BaseFilter, F, FilterEQ, FilterLT


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("reward > 0.5 and observation[0] < 0", (F("reward") > 0.5) & (F("observation[0]") < 0)),
        ("a = 1 or b == 2 and c != 3", (F("a") == 1) | ((F("b") == 2) & (F("c") != 3))),
        ("(a = 1 or b == 2) and c != 3", ((F("a") == 1) | (F("b") == 2)) & (F("c") != 3)),
        ("not a = 1 and b = 2", ~(F("a") == 1) & (F("b") == 2)),
        ("NOT NOT a", ~~F("a").is_true()),
        ("0.5 < reward", F("reward") > 0.5),
        ("0 < reward <= 1", (F("reward") > 0) & (F("reward") <= 1)),
        ("status in ['a', \"b\",]", F("status").isin(["a", "b"])),
        ("x not in (1, 2.5)", ~F("x").isin([1, 2.5])),
        ("x in []", F("x").isin([])),
        (
            "observation[0, 1] between -0.1 and 1e3 and y",
            F("observation[0, 1]").between(-0.1, 1e3) & F("y").is_true(),
        ),
        ("exists info.x", F("info.x").exists()),
        ("not exists(info.x)", ~F("info.x").exists()),
        ("info.success", F("info.success").is_true()),
        ("is_true(info.success) or is_false(info.a)", F("info.success").is_true() | F("info.a").is_false()),
        ("info.`TimeLimit.truncated` = true", FilterEQ("info.TimeLimit%2Etruncated", value=True)),
        ("metadata.my-key >= 1_000", F("metadata.my-key") >= 1_000),
        ("s == 'it\\'s \\n\\\\'", F("s") == "it's \n\\"),
        ("s = 'and or (not) é'", F("s") == "and or (not) é"),
        ("x<-5", F("x") < -5),
        ("x == 9007199254740993", F("x") == 2**53 + 1),
        ("-inf < x", F("x") > -math.inf),
        ("observation.leg[1].speed[0] > 1", F("observation.leg[1].speed[0]") > 1),
        ("\n a\n= 1 ", F("a") == 1),
    ],
)
def test_texts_are_filters(text: str, meant: BaseFilter) -> None:
    assert parse_expression(text) == meant


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "a key or a value belongs here"),
        ("reward >", 8, "not the end"),
        ("reward > 1 step < 2", 11, "joined by `and` or `or`"),
        ("reward > x", 7, "two keys.*quotes"),
        ("1 < 2", 2, "two values"),
        ("3", 0, "a value alone"),
        ("x == None", 5, "exists KEY"),
        ("x in 3", 5, "takes a list"),
        ("x in [a]", 6, "'a'"),
        ("(a = 1", 6, r"`\)` is missing"),
        ("a = 1 & b", 6, "write `and`"),
        ("!a", 0, "write `and`"),
        ("x == 'abc", 5, "not closed"),
        ("x == 'a\\q'", 7, "unknown escape"),
        ("x between 1 or 2", 12, "`and` is missing"),
        ("x between 1 and 'a'", 10, "text and a number"),
        ("a and\n b >", 10, "not the end"),
        ("5x > 3", 0, "not understood"),
        ("not", 3, "not the end"),
        ("and", 0, "not 'and'"),
        ("(" * 100 + "a", 64, "nested too deeply"),
        ("exists 3", 7, "takes a key"),
        ("a = " + "9" * 399, 0, "bits"),
    ],
)
def test_errors_show_the_place(text: str, position: int, words: str) -> None:
    with pytest.raises(ExpressionError, match=words) as caught:
        parse_expression(text)
    assert caught.value.position == position
    shown, caret = str(caught.value).rsplit("\n", 2)[1:]
    assert caret.strip() == "^"
    assert len(caret) - 1 <= len(shown) or position >= len(text)


def test_limits_of_the_tree_are_shown_in_the_text() -> None:
    with pytest.raises(ExpressionError, match="conditions"):
        parse_expression(" or ".join(["a = 1"] * 1_000))
    with pytest.raises(ExpressionError, match="levels deep"):
        parse_expression("not (b and " * 20 + "a" + ")" * 20)


@settings(max_examples=50)
@given(text=st.text("ab.[]()'\"`<>=!, 01-not inandor\\%", max_size=30))
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        parse_expression(text)


def test_a_backquote_of_a_name_is_doubled() -> None:
    assert parse_expression("info.`a``.b` = 1") == (F("info", "a`.b") == 1)


def test_nan_is_a_number() -> None:
    item = parse_expression("x < nan")
    assert isinstance(item, FilterLT)
    assert math.isnan(float(item.value))


def test_a_key_where_a_value_belongs_is_shown_as_it_was_written() -> None:
    with pytest.raises(ExpressionError, match=r"text stands in quotes: 'info\.`a\.b`'"):
        parse_expression("policy in [info.`a.b`]")
