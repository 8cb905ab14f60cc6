"""How far groups are: when one has passed another, and what is no answer."""

import pytest

from tupli_ingest.adapters.kafka_groups import GroupPosition
from tupli_ingest.adapters.kafka_topics import partitions_in
from tupli_ingest.core.errors import LogUnavailable


@pytest.mark.parametrize(
    ("filled", "before", "ends", "passed"),
    [
        ({0: 5, 1: 3}, {0: 5, 1: 3}, {0: 5, 1: 3}, True),
        ({0: 5}, {0: 5, 1: 3}, {0: 5, 1: 3}, False),
        ({0: 4}, {0: 5}, {0: 9}, False),
        ({0: 4}, {0: 9}, {0: 4}, True),  # the log has lost what the other one had committed
        ({0: 3}, {0: 9}, {0: 4}, False),
        ({}, {0: 0}, {0: 0}, True),
    ],
)
def test_a_group_has_passed_another(
    filled: dict[int, int],
    before: dict[int, int],
    ends: dict[int, int],
    passed: bool,  # noqa: FBT001 -- a case
) -> None:
    assert GroupPosition(filled).has_passed(GroupPosition(before, ends)) is passed


def test_a_topic_that_the_brokers_do_not_tell_is_no_empty_one() -> None:
    assert partitions_in({"topic": "t", "error_code": 0, "partitions": [{"partition": 0}]}) == [0]
    for code in (29, 3, 0):
        with pytest.raises(LogUnavailable, match="topic t"):
            partitions_in({"topic": "t", "error_code": code, "partitions": []})


def test_a_missing_topic_may_be_one_of_another_prefix() -> None:
    with pytest.raises(LogUnavailable) as told:
        partitions_in({"topic": "t", "error_code": 3, "partitions": []})
    assert 0 < str(told.value).index("TUPLI_KAFKA_TOPIC_PREFIX") < str(told.value).index("create-topics")
