"""How far a consumer group is in the topics of streams, over all partitions, asked without joining it."""

from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import translated
from tupli_ingest.adapters.kafka_reader import group_id
from tupli_ingest.adapters.kafka_topics import partitions_in
from tupli_ingest.core.errors import LogUnavailable
from tupli_schemas.direct import stored_partition
from tupli_schemas.events import EPISODES_TOPIC, STREAM_TOPICS


def group_of(generation: int) -> str:
    """The consumer group that fills a generation."""
    return f"g{generation}"


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """Offsets by partition, as it is stored (`tupli_schemas.direct`); `members` counts the processes in the group."""

    committed: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    members: int = 0

    @property
    def done(self) -> int:
        """Records that the group has committed."""
        return sum(self.committed.values())

    @property
    def lag(self) -> int:
        """Records that it has not."""
        return sum(end - self.committed.get(partition, 0) for partition, end in self.ends.items())

    def has_passed(self, other: "GroupPosition") -> bool:
        """Whether this group has committed all that the other one has, as far as the log still has it."""
        return all(
            self.committed.get(partition, 0) >= min(offset, other.ends.get(partition, offset))
            for partition, offset in other.committed.items()
        )


class KafkaGroups:
    """Asks the brokers; used on one event loop, between calls connected to nobody."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection

    async def position(self, group: str) -> GroupPosition:
        """Where a group stands.

        Raises:
            LogUnavailable: The brokers do not answer.
        """
        name = group_id(self._connection, group, EPISODES_TOPIC)
        topics = {self._connection.named(topic): topic for topic in STREAM_TOPICS}
        with translated():
            consumer = AIOKafkaConsumer(**self._connection.options(), enable_auto_commit=False)
            admin = AIOKafkaAdminClient(**self._connection.options())
            try:
                await consumer.start()
                await admin.start()
                known = await admin.describe_topics(list(topics))
                places = [TopicPartition(of["topic"], number) for of in known for number in partitions_in(of)]
                ends = await consumer.end_offsets(places)
                found = await admin.list_consumer_group_offsets(name)
                (described,) = await admin.describe_consumer_groups([name])
            finally:
                await admin.close()
                await consumer.stop()

        def stored(place: TopicPartition) -> int:
            return stored_partition(topics[place.topic], place.partition)

        committed = {stored(at): max(offset.offset, 0) for at, offset in found.items() if at.topic in topics}
        return GroupPosition(committed, {stored(at): end for at, end in ends.items()}, _members(described))


def _members(described: object) -> int:
    """How many members a group's description has; of one that nobody has joined yet there are none.

    Raises:
        LogUnavailable: The coordinator cannot say.
    """
    ((error, _group, _state, _kind, _protocol, members, *_),) = described.groups  # type: ignore[attr-defined]  # aiokafka has no types here
    if error:
        raise LogUnavailable(f"the coordinator of the group cannot say who is in it (code {error})")
    return len(members)
