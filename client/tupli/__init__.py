"""Record reinforcement-learning environments live, step by step, and pull back exactly the tuples you asked for."""

from importlib.metadata import version as _version

from tupli.datasets.parsers import NumpyTupleParser, TensorFlowTupleParser, TorchTupleParser
from tupli.datasets.tupli_dataset import TupliDataset, dataset
from tupli.errors import (
    AuthError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    SpoolFull,
    TransportError,
    TupliError,
    TupliStorageError,
    TupliWarning,
    UntrustedEnvironment,
)
from tupli.models import BenchmarkHeader, Episode, EpisodeHeader, RLTuple
from tupli.recording import Recorder, TupliEnvWrapper, TupliVectorEnvWrapper, record
from tupli.storage.api import TupliAPIClient
from tupli_schemas.filters import (
    F,
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

__version__ = _version("tupli")

__all__ = [
    "AuthError",
    "BenchmarkHeader",
    "Conflict",
    "Episode",
    "EpisodeHeader",
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
    "IntegrityError",
    "InvalidInput",
    "NotFound",
    "NumpyTupleParser",
    "RLTuple",
    "Recorder",
    "SpoolFull",
    "TensorFlowTupleParser",
    "TorchTupleParser",
    "TransportError",
    "TupliAPIClient",
    "TupliDataset",
    "TupliEnvWrapper",
    "TupliError",
    "TupliStorageError",
    "TupliVectorEnvWrapper",
    "TupliWarning",
    "UntrustedEnvironment",
    "__version__",
    "dataset",
    "record",
]
