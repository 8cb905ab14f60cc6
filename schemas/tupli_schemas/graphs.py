"""Graphs: Gymnasium's `GraphInstance`, where it is known and where it is not."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy.typing as npt

GRAPH_TYPE: Final = "gymnasium.spaces.graph.GraphInstance"
"""The name under which `values` writes a graph."""

MakeGraph = Callable[..., Any]
"""Makes a graph of (nodes, edges, edge_links)."""


class Graph(NamedTuple):
    """A graph where Gymnasium's own `GraphInstance` is not known; it has the same members."""

    nodes: npt.NDArray[Any]
    edges: npt.NDArray[Any] | None
    edge_links: npt.NDArray[Any] | None


def with_graphs(value: Any, make: MakeGraph) -> Any:
    """The value, with what `make` makes in the place of each `Graph` in its dicts, lists and tuples."""
    if type(value) is Graph:
        return make(*value)
    if type(value) is dict:
        return {key: with_graphs(item, make) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(with_graphs(item, make) for item in value)
    return value
