"""A broker that lets in only those who prove who they are, in the ways that a deployment may ask for."""

import base64
import datetime as dt
import ipaddress
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.kafka_broker import Broker, free_ports, own_broker

USER, PASSWORD = "alice", "only for tests"
WAYS: Final = ("TLS", "PLAIN", "SCRAM", "SCRAM256", "OAUTH")
_PROTOCOLS: Final = {
    "TLS": "SSL",
    "PLAIN": "SASL_SSL",
    "SCRAM": "SASL_SSL",
    "SCRAM256": "SASL_SSL",
    "OAUTH": "SASL_PLAINTEXT",
}
_MECHANISMS: Final = {
    "PLAIN": "PLAIN",
    "SCRAM": "SCRAM-SHA-512",
    "SCRAM256": "SCRAM-SHA-256",
    "OAUTH": "OAUTHBEARER",
}
_MODULE: Final = "org.apache.kafka.common.security"
_JAAS: Final = {
    "PLAIN": f'{_MODULE}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    "SCRAM": f"{_MODULE}.scram.ScramLoginModule required;",
    "SCRAM256": f"{_MODULE}.scram.ScramLoginModule required;",
    "OAUTH": f'{_MODULE}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
}


@dataclass(frozen=True, slots=True)
class SecureBroker:
    """A broker, and the port of each way to it."""

    broker: Broker
    folder: Path
    ports: dict[str, int]

    def environment(self, way: str) -> dict[str, str]:
        """The settings with which this way is gone."""
        given = {"BROKERS": f"127.0.0.1:{self.ports[way]}", "SECURITY_PROTOCOL": _PROTOCOLS[way]}
        if way != "OAUTH":
            given["SSL_CAFILE"] = str(self.folder / "ca.pem")
        if way == "TLS":
            given |= {
                "SSL_CERTFILE": str(self.folder / "client.pem"),
                "SSL_KEYFILE": str(self.folder / "client.key"),
            }
        else:
            given["SASL_MECHANISM"] = _MECHANISMS[way]
        if way == "OAUTH":
            (self.folder / "token").write_text(unsecured_token(USER), encoding="utf-8")
            given["SASL_TOKEN_FILE"] = str(self.folder / "token")
        elif way != "TLS":
            given |= {"SASL_USERNAME": USER, "SASL_PASSWORD": PASSWORD}
        return {f"TUPLI_KAFKA_{name}": value for name, value in given.items()}


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Started, with certificates of its own; ended with the block."""
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    authority = _Authority(secrets)
    authority.issue("server")
    authority.issue("client")
    ports = dict(zip(WAYS, free_ports(len(WAYS)), strict=True))
    users = [f"{kind}=[name={USER},password={PASSWORD}]" for kind in ("SCRAM-SHA-512", "SCRAM-SHA-256")]
    with own_broker(folder, more=_properties(secrets, ports), users=users) as broker:
        yield SecureBroker(broker, secrets, ports)


def unsecured_token(subject: str, seconds: int = 3_600) -> str:
    """What a broker takes that has no keys to verify tokens with (RFC 7515, appendix A.5)."""
    now = int(time.time())
    parts: list[dict[str, Any]] = [{"alg": "none"}, {"sub": subject, "iat": now, "exp": now + seconds}]
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join((*texts, ""))


def _properties(secrets: Path, ports: dict[str, int]) -> str:
    ways = ",".join(f"{way}://127.0.0.1:{port}" for way, port in ports.items())
    protocols = ",".join(f"{way}:{protocol}" for way, protocol in _PROTOCOLS.items())
    lines = [
        f"listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller_port}},{ways}",
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},{ways}",
        f"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{protocols}",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={secrets / 'server.both'}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={secrets / 'ca.pem'}",
        "listener.name.tls.ssl.client.auth=required",
    ]
    for way, mechanism in _MECHANISMS.items():
        name = f"listener.name.{way.lower()}"
        lines.append(f"{name}.sasl.enabled.mechanisms={mechanism}")
        lines.append(f"{name}.{mechanism.lower()}.sasl.jaas.config={_JAAS[way]}")
    return "\n" + "\n".join(lines) + "\n"


class _Authority:
    """Signs certificates for 127.0.0.1, for an hour."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("authority")
        made = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self._own = made.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        (folder / "ca.pem").write_bytes(self._own.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> None:
        """`NAME.pem`, `NAME.key`, and both in `NAME.both`."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = self._builder(_named(name), key).add_extension(address, critical=False)
        signed = made.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        certificate = signed.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._folder / f"{name}.pem").write_bytes(certificate)
        (self._folder / f"{name}.key").write_bytes(private)
        (self._folder / f"{name}.both").write_bytes(private + certificate)

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tupli tests: {name}")])
