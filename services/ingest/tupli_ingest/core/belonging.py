"""Whether a generation of the store and the log belong together, or one of them was lost without the other."""

from collections.abc import Mapping


def why_not_its_log(
    *, begun: bool, committed: Mapping[int, int], stored: Mapping[int, int], ends: Mapping[int, int]
) -> str:
    """Why a generation must not be filled on; empty when it may.

    Args:
        begun: Whether it has the mark that is set before anything of the log is written into it.
        committed: How far its consumer group is, by partition: the offset of the next record.
        stored: The highest offset that it has, by partition.
        ends: Where the log ends, by partition: the offset that the next record will have.
    """
    done = sum(committed.values())
    if not begun and done:
        return (
            f"its group has processed {done} records and it has none of them: the store was lost, or it is another "
            "one. To fill it from the log: `tupli rebuild`"
        )
    beyond = sorted(p for p, offset in stored.items() if offset >= ends.get(p, 0))
    if beyond:
        first = beyond[0]
        return (
            f"it has record {stored[first]} of partition {first}, and the log ends at {ends.get(first, 0)}: the log was "
            "lost, or it is another one. Put the log back; or give up what only the store has, with `tupli rebuild`"
        )
    return ""
