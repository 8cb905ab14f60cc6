"""Which recorded episode `annotate` and `discard_episode` are about, slot by slot."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

OVER: Final = "steps between the end of an episode and the next reset are no transitions"
RESET_FAILED: Final = "a reset failed: steps are not recorded before one succeeds"
INTERRUPTED: Final = (
    "a step failed or was interrupted: its episode was aborted, what follows is not recorded before a reset"
)
NO_SUBJECT: Final = (
    "annotate and discard_episode change nothing: the running or just ended episode is not recorded"
)


@dataclass
class Subjects:
    """The recorded episodes (ordinals; 0 for none) of what the environment plays, one a slot.

    They follow the environment, not the recording: an episode that is not recorded has none, so that no word
    on it reaches the one before.

    Attributes:
        current: Of the running or just ended episode.
        ended: Of the last episode that is over, also when the next one runs.
    """

    slots: int
    current: list[int] = field(init=False)
    ended: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing that was recorded so far is spoken of any more."""
        self.current, self.ended = [0] * self.slots, [0] * self.slots

    def over(self, slots: Iterable[int]) -> None:
        """The environment's episodes of these slots are over."""
        for slot in slots:
            self.ended[slot] = self.current[slot]

    def begun(self, slots: Iterable[int]) -> None:
        """The environment's next episodes of these slots have begun, and are not recorded yet."""
        for slot in slots:
            self.current[slot] = 0

    def forget_after(self, ordinal: int) -> None:
        """Episodes behind this one were taken back: others will have their ordinals."""
        for of_slots in (self.current, self.ended):
            of_slots[:] = [known if known <= ordinal else 0 for known in of_slots]
