"""JSON Web Tokens of ours (RFC 7519), read as narrowly as RFC 8725 asks for.

One algorithm, one type, no member of the header that names a key or says where to fetch one, a size.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tupli_schemas.direct import from_base64url

ALGORITHM: Final = "ES256"
CURVE: Final = "P-256"
HEADER: Final = frozenset({"alg", "typ", "kid"})


class NotSigned(ValueError):
    """A token that says nothing: it is none, or not what its key signed. The message tells nobody's secret."""


def header_of(token: bytes, kind: str, *, what: str, most_bytes: int) -> dict[str, str]:
    """The header of a token of this `typ`: no more and no less than it may have; `what` it is called when it is refused.

    Raises:
        NotSigned: It has another one.
    """
    if len(token) > most_bytes or token.count(b".") != 2:
        raise NotSigned(f"the {what} is no JSON Web Token")
    try:
        header = json.loads(from_base64url(token.partition(b".")[0]))
    except (ValueError, RecursionError) as error:
        raise NotSigned(f"the {what}'s header is none") from error
    if not isinstance(header, dict) or header.keys() != HEADER:
        raise NotSigned(f"the {what}'s header has other members than {', '.join(sorted(HEADER))}")
    if header["alg"] != ALGORITHM or header["typ"] != kind or not isinstance(header["kid"], str):
        raise NotSigned(f"the {what} is not a {kind} signed with {ALGORITHM}")
    return header


def claims_of(token: bytes, key: ECKey, *, what: str) -> Any:
    """What a key signed; to be called behind `header_of`.

    Raises:
        NotSigned: It is not what the key signed, or no JSON.
    """
    try:
        return json.loads(jws.deserialize_compact(token, key, algorithms=[ALGORITHM]).payload)
    except (JoseError, ValueError, RecursionError) as error:
        raise NotSigned(f"the {what}'s signature is not that of its key") from error


def time_of(members: Mapping[str, Any], name: str) -> int | None:
    """A time in whole Unix seconds; None when it is not given.

    Raises:
        ValueError: It is something else.
    """
    value = members.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{name} is no time in whole seconds")
    return value
