"""Which generation of the store serves, and which is being filled to serve next."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What the control row says.

    Attributes:
        serving: The generation that queries read.
        filling: The one that is being filled to serve next; 0 for none.
        note: Why the last one that was being filled is not any more, where it did not come to serve.
        since_ms: When this was written, in Unix milliseconds.
    """

    serving: int
    filling: int = 0
    note: str = ""
    since_ms: int = 0
