"""The HTTP transport."""

import time
from collections.abc import Hashable
from typing import Any, Final

import orjson

from tupli.errors import TransportError
from tupli.transport.base import Body, SendResult
from tupli.transport.endpoint import Endpoint, Token
from tupli_schemas.catalog import Command, encode_command
from tupli_schemas.ids import id_text, make_id

EVENTS_TYPE: Final = "application/vnd.tupli.events"
_JSON: Final = {"content-type": "application/json"}
_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.1
_COMMAND_SECONDS: Final = 30.0


class HttpTransport:
    """Events and commands over HTTP (`POST /ingest/v1/...`).

    Args:
        url: Address of the server, `TUPLI_URL`, or the local one.
        token: A bearer token, or a function that gives the current one; `TUPLI_TOKEN` when left out.
        timeout: Seconds to wait for the server, connecting apart.
    """

    def __init__(
        self, url: str | None = None, token: Token | None = None, *, timeout: float | None = None
    ) -> None:
        self._server = Endpoint(url, token, by_status=False, seconds=timeout or _SECONDS)

    @property
    def address(self) -> str:
        """The server's address, without a trailing slash."""
        return self._server.address

    @property
    def identity(self) -> str:
        """A fingerprint of a fixed token; empty without one or when it changes by itself."""
        return self._server.identity

    @property
    def route(self) -> Hashable:
        """The server's address, and the credential."""
        return self._server.route

    def send_events(self, body: Body) -> SendResult:
        """Deliver framed events; see `Transport`."""
        _, answer = self._call("POST", "/ingest/v1/events", body, {"content-type": EVENTS_TYPE})
        if "accepted" not in answer:
            raise TransportError(f"{self.address}: the answer does not say what was accepted")
        return SendResult(
            int(answer["accepted"]), answer.get("streams", {}), int(answer.get("linger_ms") or 0)
        )

    def command(self, command: Command) -> dict[str, Any]:
        """The result of a catalogue command; waits for the verdict when the server needs longer."""
        status, answer = self._call("POST", "/ingest/v1/commands", encode_command(command), _JSON)
        deadline = time.monotonic() + _COMMAND_SECONDS
        while status == 202:
            if time.monotonic() > deadline:
                raise TransportError(f"no verdict on command {command.command_id} yet")
            time.sleep(_POLL_SECONDS)
            status, answer = self._call("GET", f"/ingest/v1/commands/{command.command_id}")
        return answer.get("result") or {}

    def stream_state(self, stream: bytes) -> dict[str, Any]:
        """What the server has made visible of a stream."""
        return self._call("GET", f"/ingest/v1/streams/{id_text(stream)}")[1]

    def start_rebuild(self) -> None:
        """Ask the server to fill a new store from its log; the one that already runs is that one."""
        self._call("POST", "/ingest/v1/rebuild")

    def rebuild_state(self) -> dict[str, Any]:
        """Of the last rebuild: state (`idle, running, done, failed`), generation, offset, end."""
        return self._call("GET", "/ingest/v1/rebuild")[1]

    def dead_letters(self, *, after: int | None = None, limit: int = 100) -> dict[str, Any]:
        """A page of what the server could not process: `letters`, `after` (the last index), `newest`."""
        more = "" if after is None else f"&after={after}"
        return self._call("GET", f"/ingest/v1/dead-letters?limit={limit}{more}")[1]

    def dead_letter(self, index: int) -> dict[str, Any]:
        """One of them, with its record as far as it can be read."""
        return self._call("GET", f"/ingest/v1/dead-letters/{index}")[1]

    def replay_dead_letters(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Append records of dead letters again: those of `indexes`, or of a `code` (`after`, `until`)."""
        return self._call("POST", "/ingest/v1/dead-letters/replay", orjson.dumps(wanted), _JSON)[1]

    def new_stream(self, now_ms: int, random_bits: int) -> bytes:
        """A stream that goes through a gateway."""
        return make_id(now_ms, random_bits)

    def close(self) -> None:
        """Close the connections of this process."""
        self._server.close()

    def _call(
        self, method: str, path: str, body: Body = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON document of a success; one without a document is somebody else's."""
        with self._server.answer(method, path, body, headers) as answer:
            try:
                document = orjson.loads(answer.read())
            except orjson.JSONDecodeError:
                document = None
            if not isinstance(document, dict):
                raise TransportError(f"{self.address}{path}: the answer is not a JSON object")
            return answer.status, document
