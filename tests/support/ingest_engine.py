"""An engine over a real log and a real chDB, without threads or HTTP. Run as a program it appends and processes."""

import asyncio
import sys
from pathlib import Path

from support.ingest_streams import StreamOfItems, new_record
from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.adapters.sqlite_log import SqliteLog
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import EpisodeStore
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.processor import BlockLimits, Engine
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.ids import make_id


class EngineParts:
    """Log, store and engines on one folder."""

    def __init__(self, folder: Path) -> None:
        self.log = SqliteLog(folder / "log.sqlite3")
        self.client = ChdbClient(folder / "store")
        self.generations = Generations(self.client)
        self.generations.migrate()

    def engine(
        self, generation: int, *, store: EpisodeStore | None = None, block_rows: int = 200_000
    ) -> Engine:
        limit = DeadLetterLimit(ratio=0.2, window=1_000, run=100)
        letters = LogDeadLetters(self.log, limit=limit, now_ms=lambda: 0)
        self.generations.make(generation)
        pipeline = Pipeline(store or self.generations.open(generation), letters)
        limits = BlockLimits(rows=block_rows, read_bytes=20_000)
        return Engine(generation, pipeline, self.log, self.log, limits, limit)

    def close(self) -> None:
        self.client.close()
        self.log.close()


def run(engine: Engine) -> None:
    """Process the log to its end."""
    while engine.lag > 0:
        while not engine.collect():
            pass
        engine.write()


async def _append(log: SqliteLog, number: int) -> None:
    """A stream of a few episodes, sent in uneven pieces, some of them twice or late."""
    stream = StreamOfItems(make_id(1_700_000_000_000 + number, number))
    for ordinal in range(1, 6):
        stream.episode(ordinal, 40 * ordinal, end=ordinal != 4)
    events = stream.events(cut=17)
    late = events.pop(5)
    for start in range(0, len(events), 3):
        await log.append(EPISODES_TOPIC, [new_record(event) for event in events[start : start + 4]])
    await log.append(EPISODES_TOPIC, [new_record(late)])


def main(folder: Path, first: int) -> None:
    """Append and process stream after stream, until somebody kills this."""
    parts = EngineParts(folder)
    engine = parts.engine(1, block_rows=100)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number in range(first, first + 10_000):
        asyncio.run(_append(parts.log, number))
        run(engine)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
