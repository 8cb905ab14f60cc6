"""The table of a dataset without episodes whose step schema nobody knows: there are none to tell it, or it has several."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from tupli.datasets.infos import Infos
from tupli.datasets.words import HAS_EXTRA, HAS_NEXT, PLAIN
from tupli_schemas.spaces import Structure

Declared: TypeAlias = Mapping[str, Structure | None]
"""What the benchmark's spaces say of `observation` and `action`, where they say something."""


def empty_table(words: Iterable[str], declared: Declared) -> dict[str, Any]:
    """No rows under their words, typed where that does not depend on an environment, or its spaces say it.

    Observations and actions that nobody knows are float64 of shape `(0,)`.
    """
    out: dict[str, Any] = {}
    for word in words:
        if word in PLAIN:
            out[word] = np.empty(0, PLAIN[word].dtype)
        elif word in {"episode", "step"}:
            out[word] = np.empty(0, np.int64)
        elif word == "info":
            out[word] = Infos(pa.chunked_array([], pa.binary()))
        elif word == "extra":
            out |= {"extra": {}, HAS_EXTRA: {}}
        else:
            out[word] = _no_rows(declared.get("action" if word == "action" else "observation"))
    return out | ({HAS_NEXT: np.empty(0, bool)} if "next_observation" in out else {})


def _no_rows(structure: Structure | None) -> Any:
    if structure is None:
        return np.empty(0)
    cells = [leaf.cell for leaf in structure.leaves()]
    return structure.unflatten_batch(
        [np.empty((0, *cell.shape), cell.dtype) if cell.is_numeric else [] for cell in cells]
    )
