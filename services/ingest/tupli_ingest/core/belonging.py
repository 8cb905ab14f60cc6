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
            f"its group has processed {done} records and it has none of them: settings name another store or another "
            "log than before (TUPLI_CLICKHOUSE_HOST, TUPLI_KAFKA_BROKERS, TUPLI_KAFKA_TOPIC_PREFIX), or the store was "
            "lost. Only if it was lost, fill it from the log: `tupli rebuild`"
        )
    beyond = sorted(p for p, offset in stored.items() if offset >= ends.get(p, 0))
    if beyond:
        first = beyond[0]
        return (
            f"it has record {stored[first]} of partition {first}, and the log ends at {ends.get(first, 0)}: settings name "
            "another log than the one it was filled from (TUPLI_KAFKA_TOPIC_PREFIX, TUPLI_KAFKA_BROKERS) or another store "
            "(TUPLI_CLICKHOUSE_HOST). If they are right, the log was lost: change nothing in the store, which may have all "
            "that is left, and see docs/reliability.md"
        )
    return ""
