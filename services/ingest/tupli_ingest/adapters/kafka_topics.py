"""The topics of a deployment: made by a command, never by a client that happens to write first."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import DefaultPartitioner

from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import MAX_REQUEST_BYTES
from tupli_ingest.core.errors import LogUnavailable, UnfitTopics
from tupli_schemas.events import CATALOG_TOPIC, DEAD_LETTERS_TOPIC, DIRECT_TOPIC, EPISODES_TOPIC

_FOR_EVER: Final = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(MAX_REQUEST_BYTES),
}
"""The log is the source of truth: nothing in it grows old, and nothing is compacted away."""

_OF_STRANGERS: Final = {"compression.type": "uncompressed"}
"""Whatever a sender makes of its records: the brokers keep them so that every worker can read them."""


SHOWN_S: Final = 30.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How topics are made. The number of partitions of a topic that has records must never change.

    Raises:
        UnfitTopics: There would be no partition, or fewer copies than a write waits for.
    """

    partitions: int = 8
    replication: int = 3
    min_insync_replicas: int = 2

    def __post_init__(self) -> None:
        if self.partitions < 1:
            raise UnfitTopics(f"a topic has at least one partition, not {self.partitions}")
        if not 1 <= self.min_insync_replicas <= self.replication:
            raise UnfitTopics(
                f"of {self.replication} copies (--replication) a record cannot wait for {self.min_insync_replicas}"
                " (--min-insync-replicas)"
            )

    def topics(self, connection: KafkaConnection) -> list[NewTopic]:
        """All topics. The catalogue has one partition: its commands are in one order."""
        counts = {
            EPISODES_TOPIC: self.partitions,
            DIRECT_TOPIC: self.partitions,
            CATALOG_TOPIC: 1,
            DEAD_LETTERS_TOPIC: 1,
        }
        configuration = _FOR_EVER | {"min.insync.replicas": str(self.min_insync_replicas)}
        more = {DIRECT_TOPIC: _OF_STRANGERS}
        return [
            NewTopic(
                connection.named(name),
                partitions,
                self.replication,
                topic_configs=configuration | more.get(name, {}),
            )
            for name, partitions in counts.items()
        ]


async def create_topics(connection: KafkaConnection, plan: TopicPlan) -> dict[str, str]:
    """Make the topics that are missing; those that exist stay as they are.

    Returns:
        For each topic `created` or `exists`.

    Raises:
        LogUnavailable: The brokers do not answer, or refuse a topic; the message says which.
        UnfitTopics: A topic is there with another number of partitions; then none was made.
    """
    wanted = plan.topics(connection)
    admin = AIOKafkaAdminClient(**connection.options())
    try:
        await admin.start()
        known = await admin.describe_topics()  # all: who asks for one by its name may make it
        _require_partitions(wanted, known)
        answer = await admin.create_topics(wanted)
        outcomes = {name: _outcome(name, code, told) for name, code, told, *_ in answer.topic_errors}
        await _shown(admin, wanted)
    except (KafkaError, OSError) as error:
        raise LogUnavailable(f"the brokers do not answer ({type(error).__name__}: {error})") from error
    finally:
        await admin.close()
    return outcomes


def create_topics_now(connection: KafkaConnection, plan: TopicPlan) -> Mapping[str, str]:
    """`create_topics` where there is no event loop."""
    return asyncio.run(create_topics(connection, plan))


async def _shown(admin: AIOKafkaAdminClient, wanted: Sequence[NewTopic]) -> None:
    """Wait until the brokers show all topics, which takes them a moment; what comes next can use them then.

    Raises:
        LogUnavailable: They do not, for long.
        UnfitTopics: Somebody else made one meanwhile, with another number of partitions.
    """
    names = {topic.name for topic in wanted}
    for _ in range(int(SHOWN_S / POLL_S)):
        known = await admin.describe_topics()
        shown = {told["topic"] for told in known if not told["error_code"] and told["partitions"]}
        if names <= shown:
            return _require_partitions(wanted, known)
        await asyncio.sleep(POLL_S)
    missing = ", ".join(sorted(names - shown))
    raise LogUnavailable(
        f"the topics were made, but the brokers do not show them after {SHOWN_S:g} s: {missing}"
    )


def _require_partitions(wanted: Sequence[NewTopic], known: Sequence[Mapping[str, Any]]) -> None:
    """See that the topics that are there have the partitions that are asked for.

    Raises:
        UnfitTopics: One has not.
    """
    found = {told["topic"]: len(told["partitions"]) for told in known if not told["error_code"]}
    other = [
        f"{topic.name} has {has} and {topic.num_partitions} were asked for"
        for topic in wanted
        if (has := found.get(topic.name, topic.num_partitions)) != topic.num_partitions
    ]
    if other:
        raise UnfitTopics(
            f"partitions: {'; '.join(other)}. Nothing was made or changed: the order of streams depends on the number. "
            "Ask for the one that is there (`--partitions`); TUPLI_KAFKA_TOPIC_PREFIX names other topics"
        )


async def partitions_of(connection: KafkaConnection, topic: str) -> int:
    """How many partitions a topic has.

    Raises:
        LogUnavailable: The brokers do not answer, or there is no such topic.
    """
    named = connection.named(topic)
    admin = AIOKafkaAdminClient(**connection.options())
    try:
        await admin.start()
        (found,) = await admin.describe_topics([named])
    except (KafkaError, OSError) as error:
        raise LogUnavailable(f"the brokers do not answer ({type(error).__name__}: {error})") from error
    finally:
        await admin.close()
    return len(partitions_in(found))


def partitions_in(told: Mapping[str, Any]) -> list[int]:
    """The partitions of a topic that brokers have described; an answer without them would look like a log that was lost.

    Raises:
        LogUnavailable: They cannot say.
    """
    if told["error_code"] or not told["partitions"]:
        why = for_code(told["error_code"]).__name__
        raise LogUnavailable(
            f"topic {told['topic']}: {why}; see whether TUPLI_KAFKA_BROKERS and TUPLI_KAFKA_TOPIC_PREFIX are those of"
            " this deployment. In a new one `tupli admin create-topics` makes it"
        )
    return [one["partition"] for one in told["partitions"]]


def partitioner(partitions: int) -> Callable[[bytes], int]:
    """The partition that Kafka's clients choose for a key, in a topic of so many."""
    choose, numbers = DefaultPartitioner(), list(range(partitions))

    @lru_cache(maxsize=4_096)
    def partition_of(key: bytes) -> int:
        return int(choose(key, numbers, numbers))

    return partition_of


def _outcome(name: str, code: int, told: str | None) -> str:
    if code == 0:
        return "created"
    kind = for_code(code)
    if kind is TopicAlreadyExistsError:
        return "exists"
    if kind is InvalidReplicationFactorError:
        raise LogUnavailable(
            f"topic {name} cannot be made ({told}): ask for as many copies as there are brokers, for one broker"
            " `--replication 1 --min-insync-replicas 1`"
        )
    raise LogUnavailable(f"topic {name} cannot be made ({kind.__name__}: {told})")
