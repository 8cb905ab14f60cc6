"""Addresses as settings and flags have them."""

import pytest

from tupli_schemas.addresses import brokers_of, port
from tupli_schemas.errors import ContractError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a:1", ("a:1",)),
        ("a.b-c_d:65535, 10.0.0.1:9092", ("a.b-c_d:65535", "10.0.0.1:9092")),
        ("[::1]:9092", ("[::1]:9092",)),
    ],
)
def test_brokers(text: str, found: tuple[str, ...]) -> None:
    assert brokers_of(text) == found


@pytest.mark.parametrize(
    "text",
    ["", ",", "a", "a:", ":1", "a:1,", "a:b", "a:-1", "a:0", "a:65536", "::1:9092", "x://a:1", "a:1/t"],
)
def test_what_are_no_brokers(text: str) -> None:
    with pytest.raises(ContractError):
        brokers_of(text)


@pytest.mark.parametrize("number", [0, 1, 8080, 65_535])
def test_ports(number: int) -> None:
    assert port(str(number)) == number


@pytest.mark.parametrize("text", ["", "-1", "65536", "many", "1.0", "1e3", "\u00b2", "\u0661"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError, match="0 to 65535"):
        port(text)
