"""What the gateway makes of requests: records, stamped with what a client may not claim."""

from collections.abc import Callable, Sequence

from tupli_ingest.core.catalog import check_command
from tupli_ingest.core.decoding import Checked
from tupli_ingest.core.errors import RequestRefused
from tupli_ingest.core.validation import Accepted, Sender, accept_frames
from tupli_ingest.http.identity import Caller
from tupli_ingest.logs import request_id
from tupli_schemas.errors import ContractError
from tupli_schemas.framing import Frame
from tupli_schemas.ids import id_text
from tupli_schemas.problems import Problem
from tupli_schemas.records import Envelope, NewRecord


class Gateway:
    """Checks and stamps.

    `knows_benchmark` says whether a benchmark exists, `now_ms` is the time of receipt; `keep` gets the
    payload of each event that is valid and what it holds.
    """

    def __init__(
        self,
        knows_benchmark: Callable[[bytes], bool],
        now_ms: Callable[[], int],
        keep: Callable[[bytes, Checked], None],
    ) -> None:
        self._knows_benchmark = knows_benchmark
        self._now_ms = now_ms
        self._keep = keep

    def events(self, frames: Sequence[Frame], caller: Caller) -> Accepted:
        """The records of a request's events.

        Raises:
            RequestRefused: An event breaks its contract, or names a benchmark that does not exist.
            LogUnavailable: A benchmark is not known, and not all commands have been read yet.
        """
        sender = Sender(
            subject=caller.subject,
            received_at=self._now_ms(),
            client=caller.client,
            request_id=request_id.get(),
        )
        accepted = accept_frames(frames, sender)
        for benchmark, (index, place) in accepted.benchmarks.items():
            if not self._knows_benchmark(benchmark):
                detail = f"there is no benchmark {id_text(benchmark)}"
                raise RequestRefused(Problem("unknown_benchmark", detail, place), index)
        for record, checked in zip(accepted.records, accepted.checked, strict=True):
            self._keep(record.payload, checked)
        return accepted

    def command(self, body: bytes, caller: Caller) -> tuple[str, NewRecord]:
        """The id of a command and its record.

        Raises:
            RequestRefused: The command breaks its contract.
        """
        try:
            command = check_command(body)
        except ContractError as error:
            raise RequestRefused(Problem("invalid_request", error.reason, error.place)) from error
        envelope = Envelope(
            event=command.NAME,
            version=command.VERSION,
            subject=caller.subject,
            received_at=self._now_ms(),
            client=caller.client,
            request_id=request_id.get(),
        )
        return command.command_id, NewRecord(caller.subject, envelope, body)
