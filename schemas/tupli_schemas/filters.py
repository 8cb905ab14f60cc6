"""Filters: an immutable, typed tree of conditions on keys, and `F`, the way to write one.

    F("return") >= 195
    (F("observation[2]").between(-0.1, 0.1) & (F("action") == 1)) | ~F("info.success").is_true()

The nodes are in `filter_tree`, `F` in `filter_fields`, the JSON form in `filter_json`, operands in
`filter_values`, and what keys mean in `keys`.
"""

from tupli_schemas.filter_fields import F
from tupli_schemas.filter_json import parse_filter
from tupli_schemas.filter_tree import (
    MAX_DEPTH,
    MAX_NODES,
    BaseFilter,
    FilterAND,
    FilterBETWEEN,
    FilterEQ,
    FilterEXISTS,
    FilterGEQ,
    FilterGT,
    FilterIN,
    FilterLEQ,
    FilterLT,
    FilterNE,
    FilterNOT,
    FilterOR,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "BaseFilter",
    "F",
    "FilterAND",
    "FilterBETWEEN",
    "FilterEQ",
    "FilterEXISTS",
    "FilterGEQ",
    "FilterGT",
    "FilterIN",
    "FilterLEQ",
    "FilterLT",
    "FilterNE",
    "FilterNOT",
    "FilterOR",
    "parse_filter",
]
