"""A dataset in memory, in the forms of others."""

from functools import cached_property
from typing import Any

import numpy as np

from tupli.datasets.flat import Bools, flat_flags
from tupli.datasets.reading import Pulled
from tupli.datasets.tuples import Tuples
from tupli.errors import TupliError


class Loaded:
    """What `load` fetched, with the flags of its flat forms."""

    def __init__(self, pulled: Pulled) -> None:
        self._pulled = pulled
        self.table = pulled.table
        self.headers = pulled.headers
        terminated = np.asarray(pulled.table["terminated"], bool)
        self._flags = flat_flags(pulled.episode, pulled.step, terminated)

    @property
    def terminals(self) -> Bools:
        """Where the environment terminated."""
        return self._flags[0]

    @property
    def timeouts(self) -> Bools:
        """Where a row must not be joined to the next, and is not terminal."""
        return self._flags[1]

    @cached_property
    def tuples(self) -> Tuples:
        """The rows as tuples; `timeout` is that of the flat form."""
        return Tuples(self.table, self.timeouts)

    def d4rl(self) -> dict[str, Any]:
        """D4RL's names."""
        return {
            "observations": self.table["observation"],
            "actions": self.table["action"],
            "next_observations": self.table["next_observation"],
            "rewards": self.table["reward"],
            "terminals": self.terminals,
            "timeouts": self.timeouts,
        }

    def dataframe(self) -> Any:
        """A pandas data frame.

        Raises:
            TupliError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - only who wants a data frame needs it
        except ModuleNotFoundError as error:
            raise TupliError("pandas is not installed; install it with: pip install pandas") from error
        tuples = list(self.tuples)
        return pd.DataFrame(
            {
                "state": [item.state for item in tuples],
                "action": [item.action for item in tuples],
                "reward": self.table["reward"],
                "info": [item.info for item in tuples],
                "terminal": self.terminals,
                "timeout": self.timeouts,
                "episode": self.table["episode"],
                "step": self.table["step"],
            }
        )
