"""Record reinforcement-learning environments live, step by step, and pull back exactly the tuples you asked for.

Names are imported when they are first used: a process that only records needs no dataset, one that only reads no
environment, and neither what the command line is drawn with.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tupli import datasets as datasets
    from tupli import errors as errors
    from tupli import export as export
    from tupli import expressions as expressions
    from tupli import models as models
    from tupli import recording as recording
    from tupli import storage as storage
    from tupli import transport as transport
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

    __version__: str

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

_HOMES: Final = {
    "tupli.datasets.parsers": "NumpyTupleParser TensorFlowTupleParser TorchTupleParser",
    "tupli.datasets.tupli_dataset": "TupliDataset dataset",
    "tupli.errors": "AuthError Conflict IntegrityError InvalidInput NotFound SpoolFull TransportError TupliError"
    " TupliStorageError TupliWarning UntrustedEnvironment",
    "tupli.models": "BenchmarkHeader Episode EpisodeHeader RLTuple",
    "tupli.recording": "Recorder TupliEnvWrapper TupliVectorEnvWrapper record",
    "tupli.storage.api": "TupliAPIClient",
    "tupli_schemas.filters": "F FilterAND FilterBETWEEN FilterEQ FilterEXISTS FilterGEQ FilterGT FilterIN"
    " FilterLEQ FilterLT FilterNE FilterNOT FilterOR",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}
_MODULES: Final = (
    "datasets",
    "errors",
    "export",
    "expressions",
    "models",
    "recording",
    "storage",
    "transport",
)


if not TYPE_CHECKING:  # a type checker knows the names, and refuses others

    def __getattr__(name: str) -> Any:
        if name in _HOME_OF:
            value = getattr(import_module(_HOME_OF[name]), name)
        elif name == "__version__":
            value = import_module("importlib.metadata").version("tupli")
        elif name in _MODULES:
            return import_module(f"tupli.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
