"""Parsers: from a dataset's arrays to the tensors of a framework. Derive from `BaseTupleParser` for others.

Torch and TensorFlow are imported when their parser is used.
"""

import importlib
from typing import Any

import numpy as np

from tupli.errors import TupliError


class BaseTupleParser:
    """Makes (observations, actions, rewards, terminals, timeouts) of a framework from arrays."""

    @classmethod
    def parse_lists(cls, obs: Any, act: Any, rew: Any, term: Any, trunc: Any) -> tuple[Any, ...]:
        """The five, parsed. Observations and actions may be dicts and tuples of arrays."""
        return tuple(_each(cls.parse, value) for value in (obs, act, rew, term, trunc))

    @classmethod
    def parse(cls, array: Any) -> Any:
        """One array, parsed; dtype and shape are kept."""
        raise NotImplementedError(f"{cls.__name__} parses nothing yet: define parse(array)")


class NumpyTupleParser(BaseTupleParser):
    """NumPy arrays, as recorded."""

    @classmethod
    def parse(cls, array: Any) -> Any:
        """The array."""
        return np.asarray(array)


class TorchTupleParser(BaseTupleParser):
    """PyTorch tensors that share the arrays' memory."""

    @classmethod
    def parse(cls, array: Any) -> Any:
        """The tensor."""
        return _imported("torch", "torch").from_numpy(np.ascontiguousarray(array))


class TensorFlowTupleParser(BaseTupleParser):
    """TensorFlow tensors."""

    @classmethod
    def parse(cls, array: Any) -> Any:
        """The tensor."""
        return _imported("tensorflow", "tensorflow").convert_to_tensor(np.asarray(array))


TensorflowTupleParser = TensorFlowTupleParser
"""The seed's spelling."""


def _each(parse: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _each(parse, member) for name, member in value.items()}
    if isinstance(value, tuple):
        return tuple(_each(parse, member) for member in value)
    return parse(value)


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise TupliError(
            f"{module} is not installed; install it with: pip install 'tupli[{extra}]'"
        ) from error
