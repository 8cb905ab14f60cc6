"""Signs recording grants with a key of the deployment, as long as there is no auth service to do it.

A signing key is a file that only its owner can read; what verifies it is in the set that workers read
(`grant_keys`). A grant's file is for one recorder: the token, and the private half of its confirmation key.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tupli_ingest.adapters.grant_keys import MAX_LIFETIME_S, KeyFileError, read_keys
from tupli_schemas.direct import GRANT_TYPE
from tupli_schemas.errors import ContractError
from tupli_schemas.ids import id_text, is_direct, ordinal_of
from tupli_schemas.signed import ALGORITHM, CURVE


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantOrder:
    """Whose records in which benchmark a grant allows, of one stream or of any (None), and for how long."""

    subject: bytes
    benchmark: bytes
    stream: bytes | None = None
    seconds: int = 24 * 3_600


def new_key(private: Path, public: Path, *, issuer: str) -> str:
    """Make a signing key, and add what verifies it to the set of keys; gives its id, the thumbprint of RFC 7638.

    Raises:
        KeyFileError: There is a file in the place of the private key, it is the set itself, the set is damaged, or a
            folder does not exist.
    """
    if private.resolve() == public.resolve():
        raise KeyFileError("the private key and the set of public keys are two files")
    if not private.parent.is_dir():
        raise KeyFileError(f"the folder {private.parent} does not exist")
    key = ECKey.generate_key(CURVE)
    while key.thumbprint().startswith("-"):  # a command would take the id for an option
        key = ECKey.generate_key(CURVE)
    named = {"kid": key.thumbprint(), "iss": issuer}
    verifying = key.as_dict(private=False) | named | {"use": "sig", "alg": ALGORITHM}
    with _changing(public):
        if private.exists():
            raise KeyFileError(f"{private} is there already")
        # The set first: a key that nobody has signs nothing, one that no worker knows signs what nobody believes.
        _write(public, _json({"keys": [*_read_set(public), verifying]}), mode=0o644)
        _write(private, _json(key.as_dict(private=True) | named))
    return str(named["kid"])


def retire_key(public: Path, kid: str, now_s: int, *, revoke: bool = False) -> None:
    """Note in the set that a key signs no more; with `revoke`, that nothing is taken by its grants any more.

    The first time that was noted counts, however often it is asked for.

    Raises:
        KeyFileError: The set has no such key.
    """
    with _changing(public):
        keys = _read_set(public)
        found = [key for key in keys if key.get("kid") == kid]
        if not found:
            raise KeyFileError(f"{public} has no key {kid}")
        found[0].setdefault("revoked_at" if revoke else "retired_at", now_s)  # what was judged by it stays so
        _write(public, _json({"keys": keys}), mode=0o644)


def write_grant(signing: Path, order: GrantOrder, path: Path, now_s: int) -> dict[str, Any]:
    """Sign a grant for a new confirmation key and write both, readable by the owner only; gives its claims.

    Raises:
        KeyFileError: The signing key cannot be read, or is none; or the grant would take the place of keys.
        ContractError: The order's stream is none that goes straight to Kafka, or it would be valid for longer
            than any grant is.
    """
    if _has_keys(path):
        raise KeyFileError(f"{path} holds keys: a grant does not take their place")
    confirmation = ECKey.generate_key(CURVE)
    token, claims = signed_grant(signing, order, confirmation.as_dict(private=False), now_s)
    _write(path, _json({"token": token, "key": confirmation.as_dict(private=True)}))
    return claims


def signed_grant(
    signing: Path, order: GrantOrder, confirmation: Any, now_s: int
) -> tuple[str, dict[str, Any]]:
    """The token of a grant, and its claims; `confirmation` is a public key as JSON. Raises as `write_grant`."""
    if order.stream is not None and (not is_direct(order.stream) or ordinal_of(order.stream)):
        raise ContractError(f"{id_text(order.stream)} is no stream that goes straight to Kafka")
    if not 0 < order.seconds <= MAX_LIFETIME_S:
        raise ContractError(f"a grant is valid for 1 to {MAX_LIFETIME_S} s")
    if not any(order.benchmark):
        raise ContractError("a grant is for a benchmark, and this id stands for none")
    key, issuer, kid = _signing_key(signing)
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": id_text(order.subject),
        "benchmark": id_text(order.benchmark),
        "cnf": {"jwk": {name: confirmation[name] for name in ("kty", "crv", "x", "y")}},
        "iat": now_s,
        "exp": now_s + order.seconds,
        "jti": secrets.token_hex(16),
    }
    if order.stream is not None:
        claims["stream"] = id_text(order.stream)
    header = {"alg": ALGORITHM, "typ": GRANT_TYPE, "kid": kid}
    return jws.serialize_compact(header, json.dumps(claims), key, algorithms=[ALGORITHM]), claims


def _signing_key(path: Path) -> tuple[ECKey, str, str]:
    """The key, its issuer and its id."""
    made = "`tupli admin grant-key --private FILE --keys SET` makes one"
    try:
        private = json.loads(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path} is no key that signs grants: no JSON; {made}") from error
    if isinstance(private, dict) and "keys" in private:
        raise KeyFileError(
            f"{path} is a set of keys that verify; grants are signed with a private one: {made}"
        )
    named = isinstance(private, dict) and [private.get(name) for name in ("iss", "kid", "d")]
    if not named or not all(isinstance(one, str) and one for one in named):
        raise KeyFileError(f"{path} is no private key with an issuer and an id: {made}")
    try:
        key = ECKey.import_key({name: value for name, value in private.items() if name != "iss"})
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise KeyFileError(f"{path} is no key of {CURVE}; {made}") from error
    if key.curve_name != CURVE:
        raise KeyFileError(f"{path} is no key of {CURVE}; {made}")
    return key, private["iss"], private["kid"]


@contextlib.contextmanager
def _changing(public: Path) -> Iterator[None]:
    """Within, no other command changes a set of keys of this folder.

    Raises:
        KeyFileError: There is no such folder.
    """
    try:
        folder = os.open(public.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(
            f"the folder {public.parent} of the set cannot be used ({error.strerror})"
        ) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read_set(path: Path) -> list[dict[str, Any]]:
    """The members of a set of keys, all of them valid; none where there is no file yet."""
    if not path.exists():
        return []
    read_keys(path)
    found: list[dict[str, Any]] = json.loads(path.read_bytes())["keys"]
    return found


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _has_keys(path: Path) -> bool:
    """Whether it is a signing key, or a set of those that verify (RFC 7517)."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and not found.keys().isdisjoint(("keys", "kty"))


def _write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all, never readable by others than it is in the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
