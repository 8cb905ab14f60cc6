"""Problem details (RFC 9457) with stable codes, as every service answers errors."""

from dataclasses import dataclass, field
from typing import Any, Final

MEDIA_TYPE: Final = "application/problem+json"

# code: (HTTP status, title, may be tried again)
CODES: Final[dict[str, tuple[int, str, bool]]] = {
    "invalid_request": (400, "The request is not valid", False),
    "invalid_frame": (400, "The body is not well framed", False),
    "invalid_event": (422, "An event is not valid", False),
    "invalid_filter": (422, "The filter is not valid", False),
    "unknown_key": (422, "The filter names an unknown key", False),
    "mixed_schemas": (409, "The dataset spans several step schemas", False),
    "unauthenticated": (401, "Who is calling is not known", False),
    "forbidden": (403, "Not allowed", False),
    "not_found": (404, "Not found", False),
    "unknown_benchmark": (404, "No such benchmark", False),
    "unknown_stream": (404, "No such stream", False),
    "conflict": (409, "In conflict with what exists", False),
    "too_large": (413, "The request is too large", False),
    "unsupported_media_type": (415, "Unsupported media type", False),
    "foreign_origin": (403, "Foreign Host or Origin", False),
    "too_many_requests": (429, "Too many requests", True),
    "internal": (500, "Something went wrong here", True),
    "unavailable": (503, "Not available now", True),
    "storage_full": (507, "No space to keep this", True),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document; `place` names what is wrong in the caller's words (`events[3].rows`)."""

    code: str
    detail: str
    place: str = ""
    request_id: str = ""
    members: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return CODES[self.code][0]

    def to_json(self) -> dict[str, Any]:
        """The document (RFC 9457): type, title, status, detail, and our code, place and request id."""
        status, title, _ = CODES[self.code]
        out = {
            "type": f"urn:tupli:problem:{self.code}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "code": self.code,
        }
        out |= {"place": self.place} if self.place else {}
        out |= {"request_id": self.request_id} if self.request_id else {}
        return out | self.members

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Problem":
        """The problem of a document; an unknown code of a newer server becomes `internal`."""
        known = {"type", "title", "status", "detail", "code", "place", "request_id"}
        code = data.get("code", "internal")
        return Problem(
            code if code in CODES else "internal",
            str(data.get("detail", "")),
            str(data.get("place", "")),
            str(data.get("request_id", "")),
            {k: v for k, v in data.items() if k not in known},
        )


def error_document(error: Exception, detail: str, **more: str) -> dict[str, Any]:
    """An error as programs are told of it: its class, what it says, and the server's problem if that is where it is from."""
    problem = getattr(error, "problem", None)
    told = None if problem is None else problem.to_json()
    return {"error": {"type": type(error).__name__, "detail": detail, "problem": told, **more}}
