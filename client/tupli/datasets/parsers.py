"""Parsers: from a dataset's arrays to the tensors of a framework. Derive from `BaseTupleParser` for others.

Torch and TensorFlow are imported when their parser is used.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from tupli.errors import InvalidInput, TupliError
from tupli_schemas.paths import quoted_key

_COLUMNS: Final = ("observation", "action", "reward", "terminals", "timeouts")


class BaseTupleParser:
    """Makes (observations, actions, rewards, terminals, timeouts) of a framework from arrays."""

    @classmethod
    def parse_lists(cls, obs: Any, act: Any, rew: Any, term: Any, trunc: Any) -> tuple[Any, ...]:
        """The five, parsed. Observations and actions may be dicts and tuples of arrays.

        Raises:
            InvalidInput: The framework has no tensors of a column's dtype; `place` names the column.
        """
        values = (obs, act, rew, term, trunc)
        return tuple(_each(cls.parse, value, word) for word, value in zip(_COLUMNS, values, strict=True))

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
        return _made("torch", lambda torch, value: torch.from_numpy(np.ascontiguousarray(value)), array)


class TensorFlowTupleParser(BaseTupleParser):
    """TensorFlow tensors."""

    @classmethod
    def parse(cls, array: Any) -> Any:
        """The tensor."""
        return _made("tensorflow", lambda tf, value: tf.convert_to_tensor(np.asarray(value)), array)


TensorflowTupleParser = TensorFlowTupleParser
"""The seed's spelling."""


def _each(parse: Any, value: Any, place: str) -> Any:
    if isinstance(value, dict):
        return {name: _each(parse, item, f"{place}.{quoted_key(str(name))}") for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_each(parse, member, f"{place}[{i}]") for i, member in enumerate(value))
    try:
        return parse(value)
    except InvalidInput as error:
        raise InvalidInput(str(error), place=place) from error


def _made(module: str, make: Callable[[Any, Any], Any], array: Any) -> Any:
    """What the framework makes of an array.

    Raises:
        InvalidInput: It has no tensors of that dtype: texts, graphs, and what else is an object.
    """
    framework = _imported(module, module)
    try:
        return make(framework, array)
    except (TypeError, ValueError) as error:
        told = f"{module} has no tensor for values of dtype {np.asarray(array).dtype} ({error})"
        raise InvalidInput(
            f"{told}; NumpyTupleParser keeps them, and a parser of your own may encode them"
        ) from error


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise TupliError(
            f"{module} is not installed; install it with: pip install 'tupli[{extra}]'"
        ) from error
