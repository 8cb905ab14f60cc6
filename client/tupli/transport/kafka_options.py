"""How a recorder proves to Kafka who it is: TLS and SASL from `TUPLI_KAFKA_*`, as the servers have them."""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiokafka.abc import AbstractTokenProvider

from tupli.errors import InvalidInput

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


def client_options(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Arguments of aiokafka's clients for TLS and SASL, from `TUPLI_KAFKA_*`.

    Raises:
        InvalidInput: What is given does not hold together.
    """
    env = os.environ if environment is None else environment

    def given(name: str) -> str | None:
        return env.get(f"TUPLI_KAFKA_{name}") or None

    protocol, mechanism = given("SECURITY_PROTOCOL") or "PLAINTEXT", given("SASL_MECHANISM")
    _require(protocol in _PROTOCOLS, f"SECURITY_PROTOCOL {protocol} is none of {', '.join(_PROTOCOLS)}")
    with_sasl = protocol.startswith("SASL")
    fits = mechanism in _MECHANISMS if with_sasl else mechanism is None
    _require(fits, f"SECURITY_PROTOCOL {protocol} and SASL_MECHANISM {mechanism} do not go together")
    user, password, token = given("SASL_USERNAME"), given("SASL_PASSWORD"), given("SASL_TOKEN_FILE")
    if mechanism == "OAUTHBEARER":
        _require(token is not None, "OAUTHBEARER needs SASL_TOKEN_FILE")
    elif with_sasl:
        _require(None not in (user, password), f"{mechanism} needs SASL_USERNAME and SASL_PASSWORD")
    return {
        "security_protocol": protocol,
        "ssl_context": _tls(given) if protocol.endswith("SSL") else None,
        "sasl_mechanism": mechanism or "PLAIN",
        "sasl_plain_username": user,
        "sasl_plain_password": password,
        "sasl_oauth_token_provider": TokenFile(Path(token)) if token and with_sasl else None,
    }


def _tls(given: Callable[[str], str | None]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given("SSL_CAFILE"))
        if certificate := given("SSL_CERTFILE"):
            context.load_cert_chain(certificate, given("SSL_KEYFILE"))
    except OSError as error:
        raise InvalidInput(f"TLS: {error}", place="TUPLI_KAFKA_SSL") from error
    return context


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types here
    """Gives what a file holds at that moment, which somebody else keeps fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """The token. Raises: OSError."""
        return (await asyncio.to_thread(self._path.read_text, encoding="utf-8")).strip()


def _require(holds: bool, told: str) -> None:  # noqa: FBT001 -- an assertion
    if not holds:
        raise InvalidInput(told, place="TUPLI_KAFKA")
