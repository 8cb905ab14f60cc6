"""The printing visitor: a filter tree as one condition. What a key is, is the level's matter."""

from collections.abc import Callable

from tupli_query.core.columns import Column
from tupli_query.core.sql import FALSE, TRUE, Params, conjunction, disjunction
from tupli_schemas.errors import FilterError
from tupli_schemas.filter_tree import (
    BaseFilter,
    Comparison,
    Condition,
    FilterAND,
    FilterBETWEEN,
    FilterEQ,
    FilterEXISTS,
    FilterIN,
    FilterNE,
    FilterNOT,
    FilterOR,
)

Atom = Callable[[Condition, str], str]
"""The SQL of a condition on one key, at a place."""


def compile_tree(item: BaseFilter, atom: Atom, place: str) -> str:
    """The condition of a tree; two-valued, as its atoms are.

    Raises:
        FilterError: An atom means nothing at this level; the place says which.
    """
    match item:
        case FilterAND(filters=members):
            parts = [compile_tree(one, atom, f"{place}.filters[{i}]") for i, one in enumerate(members)]
            return conjunction(parts)
        case FilterOR(filters=members):
            parts = [compile_tree(one, atom, f"{place}.filters[{i}]") for i, one in enumerate(members)]
            return disjunction(parts)
        case FilterNOT(filter=member):
            return negation(compile_tree(member, atom, f"{place}.filters[0]"))
        case FilterNE(key=key, value=value):
            # Of the whole condition: on a next observation that does not exist, NE is true.
            return negation(atom(FilterEQ(key, value), place))
        case Condition():
            return atom(item, place)
    raise FilterError(f"{type(item).__name__} is no filter", place=place)


def condition_sql(item: Condition, column: Column, params: Params, place: str) -> str:
    """A condition on a column; `compile_tree` has made NE a NOT EQ before."""
    where = f"{place}.value"
    match item:
        case FilterEXISTS():
            return column.exists(params)
        case FilterIN(value=values):
            return column.among(values, params, where)
        case FilterBETWEEN(low=low, high=high):
            above = column.compare("GEQ", low, params, f"{where}[0]")
            below = column.compare("LEQ", high, params, f"{where}[1]")
            return conjunction((above, below))
        case Comparison(value=value):
            return column.compare(item.type, value, params, where)
    raise FilterError(f"{type(item).__name__} is no condition", place=place)


def negation(condition: str) -> str:
    """The complement."""
    if condition in {TRUE, FALSE}:
        return FALSE if condition == TRUE else TRUE
    return f"NOT ({condition})"
