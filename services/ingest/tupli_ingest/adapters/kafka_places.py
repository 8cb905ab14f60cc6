"""Single records of Kafka topics by their position, for whoever looks at one or replays it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_reader import KafkaReader
from tupli_ingest.core.replaying import Places, ReadAt, read_at
from tupli_schemas.direct import place_of
from tupli_schemas.records import Position, Record


def kafka_places(connection: KafkaConnection) -> Places:
    """Opens a reader for each partition that is asked for, and closes them with its block."""

    @contextmanager
    def places() -> Iterator[ReadAt]:
        with ExitStack() as opened:
            readers: dict[int, KafkaReader] = {}

            def read(topic: str, position: Position) -> Record | None:
                _, partition = place_of(position.partition)
                reader = readers.get(partition)
                if reader is None:
                    reader = readers[partition] = KafkaReader(connection, partition=partition)
                    opened.callback(reader.close)
                return read_at(reader, topic, position)

            yield read

    return places
