"""Datasets: exactly the tuples asked for, pulled from a server."""

from tupli.datasets.batches import Batches
from tupli.datasets.parsers import (
    BaseTupleParser,
    NumpyTupleParser,
    TensorFlowTupleParser,
    TensorflowTupleParser,
    TorchTupleParser,
)
from tupli.datasets.preview import Preview
from tupli.datasets.reading import EpisodeData
from tupli.datasets.tupli_dataset import TupliDataset, dataset

__all__ = [
    "BaseTupleParser",
    "Batches",
    "EpisodeData",
    "NumpyTupleParser",
    "Preview",
    "TensorFlowTupleParser",
    "TensorflowTupleParser",
    "TorchTupleParser",
    "TupliDataset",
    "dataset",
]
