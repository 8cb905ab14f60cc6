"""How to reach Apache Kafka: brokers, TLS and SASL, as settings and as what aiokafka takes."""

import asyncio
import ssl
from pathlib import Path
from typing import Any, Literal, Self

from aiokafka.abc import AbstractTokenProvider
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tupli_ingest.adapters.tls_files import require_files
from tupli_schemas.addresses import brokers_of
from tupli_schemas.errors import ContractError

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class KafkaConnection(BaseSettings):
    """`TUPLI_KAFKA_*`: the brokers, and how to prove who we are to them.

    Raises:
        ValidationError: What is given does not hold together: SASL without a mechanism, a mechanism without
            what it needs, an unknown name.
    """

    model_config = SettingsConfigDict(
        env_prefix="TUPLI_KAFKA_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    brokers: str = Field(description="host:port, separated by commas")
    security_protocol: SecurityProtocol = "PLAINTEXT"
    ssl_cafile: Path | None = Field(default=None, description="certificates that sign the brokers'")
    ssl_certfile: Path | None = Field(default=None, description="our certificate, for mutual TLS")
    ssl_keyfile: Path | None = None
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_token_file: Path | None = Field(
        default=None, description="a file that holds the newest OAuth token; read at each connection"
    )
    topic_prefix: str = Field(
        default="", pattern=r"^[A-Za-z0-9._-]{0,64}$", description="before the names of topics and groups"
    )
    request_timeout_ms: int = Field(default=30_000, gt=0)

    @field_validator("brokers")
    @classmethod
    def _are_brokers(cls, text: str) -> str:
        try:
            return ",".join(brokers_of(text))
        except ContractError:
            told = "is host:port[,host:port], each port from 1 to 65535"
            raise ValueError(told) from None  # what it holds may be a secret in the wrong place

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        with_sasl = self.security_protocol.startswith("SASL")
        if with_sasl != (self.sasl_mechanism is not None):
            raise ValueError(
                f"security_protocol {self.security_protocol} and sasl_mechanism {self.sasl_mechanism} do not go together"
            )
        if self.sasl_mechanism == "OAUTHBEARER":
            if self.sasl_token_file is None:
                raise ValueError("OAUTHBEARER needs sasl_token_file")
        elif with_sasl and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(f"{self.sasl_mechanism} needs sasl_username and sasl_password")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile are given together or not at all")
        return self

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context, or None without TLS.

        Raises:
            OSError: A file cannot be read (`ssl.SSLError` for one that is none).
        """
        if not self.security_protocol.endswith("SSL"):
            return None
        context = ssl.create_default_context(cafile=self.ssl_cafile)
        if self.ssl_certfile is not None:
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
        return context

    def named(self, name: str) -> str:
        """The name that a topic or a group has at the brokers."""
        return self.topic_prefix + name

    @classmethod
    def from_environment(cls) -> Self:
        """What the environment says.

        Raises:
            ValidationError: Something is missing, or does not hold together.
            OSError: A file of TLS cannot be read, or is none; the message names it.
        """
        made = cls()  # type: ignore[call-arg]  # the environment has what is required
        if made.security_protocol.endswith("SSL"):
            names = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
            require_files(
                {f"TUPLI_KAFKA_{name.upper()}": getattr(made, name) for name in names}, made.ssl_context
            )
        return made

    def options(self) -> dict[str, Any]:
        """Arguments that every aiokafka client takes.

        Raises:
            OSError: A file of TLS cannot be read.
        """
        password = self.sasl_password
        return {
            "bootstrap_servers": list(brokers_of(self.brokers)),
            "request_timeout_ms": self.request_timeout_ms,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
            "sasl_mechanism": self.sasl_mechanism or "PLAIN",
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": None if password is None else password.get_secret_value(),
            "sasl_oauth_token_provider": None
            if self.sasl_token_file is None
            else TokenFile(self.sasl_token_file),
        }


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types here
    """Gives what a file holds at that moment, which somebody else keeps fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """The token.

        Raises:
            OSError: The file cannot be read.
        """
        return (await asyncio.to_thread(self._path.read_text, encoding="utf-8")).strip()
