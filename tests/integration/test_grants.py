"""Grants with real keys: what holds, what does not, and that the same is said in a year."""

import json
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from support.direct_records import (
    CHANGES,
    DIRECT_STREAM,
    NOW_S,
    Deployment,
    Signer,
    direct_events,
    read_record,
    values_of,
)
from support.ingest_streams import BENCHMARK, STREAM
from tupli_ingest.__main__ import main
from tupli_ingest.adapters.grant_issuing import GrantOrder, new_key, retire_key, signed_grant, write_grant
from tupli_ingest.adapters.grant_keys import MAX_LIFETIME_S, GrantKeys, KeyFileError, read_keys
from tupli_ingest.core.direct import DirectDecoder
from tupli_ingest.core.errors import GrantRefused
from tupli_schemas.direct import CLOCK_LEEWAY_S, GRANT_TYPE, MAX_GRANT_BYTES, Sealed
from tupli_schemas.errors import ContractError
from tupli_schemas.events import encode_event
from tupli_schemas.ids import LOCAL_SUBJECT, id_text, make_direct_id

HOUR = 3_600
APPENDED = (NOW_S + 1) * 1_000


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def claims_of(deployment: Deployment, **changes: Any) -> dict[str, Any]:
    order = GrantOrder(subject=LOCAL_SUBJECT, benchmark=BENCHMARK, seconds=HOUR)
    key = ECKey.generate_key("P-256").as_dict(private=False)
    _, claims = signed_grant(deployment.private, order, key, NOW_S)
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def signed(deployment: Deployment, claims: object, key: Any = None, **header: Any) -> bytes:
    own = json.loads(deployment.private.read_bytes())
    own.pop("iss")
    head = {"alg": "ES256", "typ": GRANT_TYPE, "kid": deployment.kid} | header
    head = {name: value for name, value in head.items() if value is not ...}
    registry = jws.JWSRegistry(strict_check_header=False, algorithms=[head["alg"]])
    text = jws.serialize_compact(head, json.dumps(claims), key or ECKey.import_key(own), registry=registry)
    return text.encode()


def test_a_grant_says_whose_records_it_is_for(deployment: Deployment) -> None:
    keys = GrantKeys(deployment.keys)
    stream = make_direct_id(5, 5)
    grant = keys.verified(deployment.signer().token, APPENDED)
    assert (grant.subject, grant.benchmark, grant.stream) == (LOCAL_SUBJECT, BENCHMARK, None)
    assert keys.verified(deployment.signer(stream=stream).token, APPENDED).stream == stream


def test_time_is_the_brokers(deployment: Deployment) -> None:
    keys, token = GrantKeys(deployment.keys), deployment.signer().token
    for appended in (NOW_S - CLOCK_LEEWAY_S, NOW_S, NOW_S + HOUR - 1):
        keys.verified(token, appended * 1_000)
    for appended in (NOW_S - CLOCK_LEEWAY_S - 1, NOW_S + HOUR, NOW_S + 10 * HOUR):
        with pytest.raises(GrantRefused, match="when the record was appended"):
            keys.verified(token, appended * 1_000)


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "somebody"},
    "no issuer": {"iss": ...},
    "no subject": {"sub": ...},
    "a subject by name": {"sub": "ada"},
    "no benchmark": {"benchmark": ...},
    "a benchmark by name": {"benchmark": "cartpole"},
    "a stream of the gateway's": {"stream": id_text(STREAM)},
    "an episode": {"stream": id_text(DIRECT_STREAM[:12] + b"\0\0\0\1")},
    "no end": {"exp": ...},
    "an end before its beginning": {"exp": NOW_S - 1},
    "no end in sight": {"exp": NOW_S + MAX_LIFETIME_S + 1},
    "a time that is none": {"exp": "tomorrow"},
    "a time that is a truth": {"iat": True},
    "no beginning": {"iat": ...},
    "not yet": {"nbf": NOW_S + CLOCK_LEEWAY_S + 60},
    "no confirmation": {"cnf": ...},
    "a confirmation by name": {"cnf": {"kid": "k"}},
    "a confirmation that is a text": {"cnf": "k"},
    "a symmetric confirmation": {"cnf": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    "a point beside the curve": {"cnf": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}}},
}


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_claims_that_allow_nothing(name: str, deployment: Deployment) -> None:
    token = signed(deployment, claims_of(deployment, **BAD_CLAIMS[name]))
    with pytest.raises(GrantRefused):
        GrantKeys(deployment.keys).verified(token, APPENDED)


def test_a_private_confirmation_key_is_none(deployment: Deployment) -> None:
    told = ECKey.generate_key("P-256").as_dict(private=True)
    token = signed(deployment, claims_of(deployment, cnf={"jwk": told}))
    with pytest.raises(GrantRefused, match="confirmation"):
        GrantKeys(deployment.keys).verified(token, APPENDED)


BAD_HEADERS: dict[str, dict[str, Any]] = {
    "another type": {"typ": "at+jwt"},
    "no type": {"typ": ...},
    "no key": {"kid": ...},
    "a key of nobody": {"kid": "nobody"},
    "a key to fetch": {"jku": "http://127.0.0.1/keys"},
    "a certificate to fetch": {"x5u": "http://127.0.0.1/cert"},
    "a key with it": {"jwk": ECKey.generate_key("P-256").as_dict(private=False)},
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_headers_that_allow_nothing(name: str, deployment: Deployment) -> None:
    token = signed(deployment, claims_of(deployment), **BAD_HEADERS[name])
    with pytest.raises(GrantRefused):
        GrantKeys(deployment.keys).verified(token, APPENDED)


def test_the_algorithm_is_no_choice_of_the_token(deployment: Deployment) -> None:
    keys, claims = GrantKeys(deployment.keys), claims_of(deployment)
    secret = OctKey.import_key(deployment.keys.read_bytes())  # what everybody knows
    stranger = ECKey.generate_key("P-256")
    unsigned = signed(deployment, claims).rpartition(b".")[0].split(b".")[1]
    none = b"eyJhbGciOiJub25lIiwia2lkIjoieCIsInR5cCI6InR1cGxpLWdyYW50K2p3dCJ9." + unsigned + b"."
    tokens = [signed(deployment, claims, secret, alg="HS256"), signed(deployment, claims, stranger), none]
    for token in [*tokens, b"", b"..", b"a.b.c", b"\xff.\xff.\xff", b"x" * (MAX_GRANT_BYTES + 1)]:
        with pytest.raises(GrantRefused):
            keys.verified(token, APPENDED)
    good = signed(deployment, claims)
    keys.verified(good, APPENDED)
    for cut in (good[:-1], good + b"A", good.replace(b".", b"", 1)):
        with pytest.raises(GrantRefused):
            keys.verified(cut, APPENDED)


def test_what_a_key_signed_counts_after_it_is_retired_and_nothing_newer(deployment: Deployment) -> None:
    keys = GrantKeys(deployment.keys)
    before, after = deployment.signer(NOW_S - 10), deployment.signer(NOW_S + 10)
    retire_key(deployment.keys, deployment.kid, NOW_S)
    for judged in (keys, GrantKeys(deployment.keys)):
        judged.verified(before.token, (NOW_S + 60) * 1_000)
        with pytest.raises(GrantRefused, match="retired"):
            judged.verified(after.token, (NOW_S + 60) * 1_000)


def test_a_revoked_key_counts_for_what_was_appended_before(deployment: Deployment) -> None:
    signer = deployment.signer()
    retire_key(deployment.keys, deployment.kid, NOW_S + 30, revoke=True)
    keys = GrantKeys(deployment.keys)
    keys.verified(signer.token, (NOW_S + 29) * 1_000)
    with pytest.raises(GrantRefused, match="revoked"):
        keys.verified(signer.token, (NOW_S + 30) * 1_000)


@pytest.mark.parametrize("revoke", [False, True])
def test_a_key_that_is_ended_twice_has_ended_the_first_time(
    deployment: Deployment,
    revoke: bool,  # noqa: FBT001 -- a case
) -> None:
    signer = deployment.signer(NOW_S + 5)
    for now_s in (NOW_S, NOW_S + 60):
        retire_key(deployment.keys, deployment.kid, now_s, revoke=revoke)
    with pytest.raises(GrantRefused, match="revoked" if revoke else "retired"):
        GrantKeys(deployment.keys).verified(signer.token, (NOW_S + 30) * 1_000)


def test_a_private_key_is_not_written_where_the_public_ones_are(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="two files"):
        new_key(tmp_path / "one.json", tmp_path / "one.json", issuer="i")
    assert not (tmp_path / "one.json").exists()


def test_keys_that_are_made_and_ended_at_once_are_all_in_the_set(
    deployment: Deployment, tmp_path: Path
) -> None:
    gate = threading.Barrier(6)

    def make(number: int) -> str:
        gate.wait(30)
        if number:
            return new_key(tmp_path / f"private-{number}.json", deployment.keys, issuer="i")
        retire_key(deployment.keys, deployment.kid, NOW_S, revoke=True)
        return deployment.kid

    with ThreadPoolExecutor(6) as threads:
        made = set(threads.map(make, range(6)))
    keys = {key["kid"]: key for key in json.loads(deployment.keys.read_bytes())["keys"]}
    assert keys.keys() == made
    assert keys[deployment.kid]["revoked_at"] == NOW_S


@pytest.mark.parametrize("missing", ["keys", "private"])
def test_without_a_folder_no_key_is_made(tmp_path: Path, missing: str) -> None:
    paths = {name: tmp_path / f"{name}.json" for name in ("keys", "private")}
    paths[missing] = tmp_path / "none" / "file.json"
    with pytest.raises(KeyFileError, match=r"folder .*none"):
        new_key(paths["private"], paths["keys"], issuer="i")
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_could_not_be_kept_signs_nothing(tmp_path: Path) -> None:
    """The set is written first: whoever asks again gets another key."""
    private, keys = tmp_path / ("p" * 250 + ".json"), tmp_path / "keys.json"  # its temporary name is too long
    with pytest.raises(OSError, match="File name too long"):
        new_key(private, keys, issuer="i")
    assert not private.exists()
    kid = new_key(tmp_path / "private.json", keys, issuer="i")
    assert kid in read_keys(keys)


def test_a_grant_takes_the_place_of_a_grant_and_of_no_keys(deployment: Deployment, tmp_path: Path) -> None:
    order = GrantOrder(subject=LOCAL_SUBJECT, benchmark=BENCHMARK)
    grant = tmp_path / "grant.json"
    for place in (deployment.keys, deployment.private):
        before = place.read_bytes()
        with pytest.raises(KeyFileError, match="holds keys"):
            write_grant(deployment.private, order, place, NOW_S)
        assert place.read_bytes() == before
    write_grant(deployment.private, order, grant, NOW_S)
    first = grant.read_bytes()
    write_grant(deployment.private, order, grant, NOW_S)
    assert grant.read_bytes() != first


def test_keys_that_are_added_count_at_once_and_a_damaged_file_changes_nothing(
    deployment: Deployment, tmp_path: Path
) -> None:
    keys = GrantKeys(deployment.keys)
    (tmp_path / "other").mkdir()
    other = Deployment(tmp_path / "other")
    token = signed(deployment, claims_of(deployment))
    new_key(tmp_path / "second.json", deployment.keys, issuer="second")
    key = ECKey.generate_key("P-256").as_dict(private=False)
    order = GrantOrder(subject=LOCAL_SUBJECT, benchmark=BENCHMARK)
    second, _ = signed_grant(tmp_path / "second.json", order, key, NOW_S)
    keys.verified(second.encode(), APPENDED)
    deployment.keys.write_bytes(b"{")
    keys.verified(token, APPENDED)
    with pytest.raises(GrantRefused, match="not among"):
        keys.verified(other.signer().token, APPENDED)
    deployment.keys.unlink()
    keys.verified(token, APPENDED)


def test_without_keys_nothing_is_granted(deployment: Deployment) -> None:
    with pytest.raises(GrantRefused, match="TUPLI_INGEST_GRANT_KEYS"):
        GrantKeys(None).verified(deployment.signer().token, APPENDED)


def private_in_public(deployment: Deployment) -> None:
    deployment.keys.write_text(json.dumps({"keys": [json.loads(deployment.private.read_text())]}))


def another_curve(deployment: Deployment) -> None:
    key = ECKey.generate_key("P-384").as_dict(private=False) | {"kid": "k", "iss": "i"}
    deployment.keys.write_text(json.dumps({"keys": [key]}))


def twice(deployment: Deployment) -> None:
    found = json.loads(deployment.keys.read_text())["keys"]
    deployment.keys.write_text(json.dumps({"keys": found * 2}))


DAMAGES: list[Callable[[Deployment], object]] = [
    private_in_public,
    another_curve,
    twice,
    lambda deployment: deployment.keys.unlink(),
    lambda deployment: deployment.keys.write_text("[]"),
    lambda deployment: deployment.keys.write_text('{"keys": [{"kid": 1}]}'),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_holds_no_keys_stops_the_start(
    damage: Callable[[Deployment], object], deployment: Deployment
) -> None:
    damage(deployment)
    with pytest.raises(KeyFileError, match=r"keys\.json"):
        GrantKeys(deployment.keys)


@pytest.fixture
def signer(deployment: Deployment) -> Signer:
    return deployment.signer()


def judge(deployment: Deployment) -> DirectDecoder:
    return DirectDecoder(GrantKeys(deployment.keys), lambda _: 0)


def test_a_requests_records_are_signed_at_once_and_each_stands_alone(
    deployment: Deployment, signer: Signer
) -> None:
    events = direct_events(3, 20, cut=7)
    values = values_of(events, signer)
    for event, value in zip(events, values, strict=True):
        assert judge(deployment)(read_record(value)).event == event
    decode = judge(deployment)
    assert [decode(read_record(value)).event for value in values] == events


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_under_way_is_not_what_was_signed(
    name: str, deployment: Deployment, signer: Signer
) -> None:
    value = values_of(direct_events(3), signer)[1]
    decode = judge(deployment)
    assert decode(read_record(value)).error == ""
    changed = CHANGES[name](Sealed.from_bytes(value)).to_bytes()
    assert decode(read_record(changed)).record.code == "bad_signature"


def test_a_record_is_no_other_keys_and_no_other_grants(deployment: Deployment, signer: Signer) -> None:
    value = values_of(direct_events(), signer)[0]
    decode, sealed = judge(deployment), Sealed.from_bytes(value)
    replayed = read_record(value, key=make_direct_id(6, 6))
    assert decode(replayed).record.code == "bad_signature"
    stolen = Sealed(deployment.signer().token, sealed.signature, sealed.event, sealed.way)
    assert decode(read_record(stolen.to_bytes())).record.code == "bad_signature"
    again = Signer(deployment.signer().token, signer.key)
    (foreign,) = again.seal(DIRECT_STREAM, [encode_event(direct_events()[0])])
    assert decode(read_record(foreign.to_bytes())).record.code == "bad_signature"


def test_no_key_has_an_id_that_a_command_takes_for_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {key.thumbprint()[0] == "-": key for key in (ECKey.generate_key("P-256") for _ in range(2_000))}
    draws = iter([drawn[True], drawn[True], drawn[False]])
    monkeypatch.setattr(ECKey, "generate_key", lambda _: next(draws))
    kid = new_key(tmp_path / "private", tmp_path / "keys", issuer="any")
    assert kid == drawn[False].thumbprint()
    assert main(["grant-key", "--keys", str(tmp_path / "keys"), "--retire", kid]) == 0


def test_the_commands_make_what_the_rest_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private, keys, grant = (tmp_path / name for name in ("private", "keys", "grant"))
    assert main(["grant-key", "--keys", str(keys), "--private", str(private)]) == 0
    kid = json.loads(capsys.readouterr().out)["kid"]
    asked = ["grant", "--private", str(private), "--benchmark", id_text(BENCHMARK), "--out", str(grant)]
    assert main(asked) == 0
    claims = json.loads(capsys.readouterr().out)
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (id_text(LOCAL_SUBJECT), 24 * HOUR)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (private, grant)} == {0o600}
    assert stat.S_IMODE(keys.stat().st_mode) & 0o444 == 0o444
    token = json.loads(grant.read_bytes())["token"].encode()
    GrantKeys(keys).verified(token, claims["iat"] * 1_000)
    assert main(["grant-key", "--keys", str(keys), "--retire", kid]) == 0
    assert main(["grant-key", "--keys", str(keys), "--private", str(private)]) == 2
    assert main(["grant-key", "--keys", str(keys), "--retire", "nobody"]) == 2
    assert main(["grant-key", "--keys", str(keys)]) == 2
    assert main([*asked, "--stream", id_text(STREAM)]) == 2
    told = capsys.readouterr().err
    assert "is there already" in told
    assert "no stream that goes straight to Kafka" in told


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        *(("--hours", hours, "is no time") for hours in ("nan", "inf", "-1", "1e999", "soon")),
        *(("--hours", hours, "a second to 744 hours") for hours in ("0", "1e-9", "745", "1e308")),
        ("--subject", "ada", "is not an id"),
        ("--benchmark", id_text(bytes(16)), "is not an id"),
        ("--benchmark", "{" + id_text(BENCHMARK) + "}", "is not an id"),
        ("--benchmark", id_text(BENCHMARK).replace("-", ""), "is not an id"),
    ],
)
def test_a_flag_that_no_grant_can_have_is_named(
    flag: str, value: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["grant", "--private", str(tmp_path / "private"), "--out", str(tmp_path / "grant")]
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--benchmark", id_text(BENCHMARK), f"{flag}={value}"])
    message = capsys.readouterr().err
    assert (ended.value.code, f"argument {flag}: " in message, told in message) == (2, True, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"7", "no private key"),
        (b'"text"', "no private key"),
        (b"{}", "no private key"),
        (b'{"iss": "a", "kid": "b"}', "no private key"),
        (b'{"keys": []}', "a set of keys that verify"),
        (b'{"iss": "a", "kid": "b", "d": "x", "kty": "EC"}', "no key of P-256"),
    ],
)
def test_a_file_that_signs_nothing_is_told_for_what_it_is(
    content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "private"
    if content is not None:
        private.write_bytes(content)
    asked = ["grant", "--private", str(private), "--out", str(tmp_path / "grant")]
    assert main([*asked, "--benchmark", id_text(BENCHMARK)]) == 2
    message = capsys.readouterr().err
    assert str(private) in message
    assert told in message
    assert "Error" not in message
    assert not (tmp_path / "grant").exists()


def test_an_order_that_no_grant_can_be(deployment: Deployment) -> None:
    with pytest.raises(ContractError, match="valid for"):
        deployment.signer(seconds=0)
