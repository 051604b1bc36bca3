from __future__ import annotations

import json

import pytest

from keelback.auth.json_web_keys import ALGORITHMS, parse_keys, parse_token
from keelback.auth.jwt import InvalidToken
from keelback.testing.access_servers import TokenKey

KEYS = {algorithm: TokenKey.make(algorithm, algorithm) for algorithm in ALGORITHMS}
SET = parse_keys(json.dumps({"keys": [key.as_json() for key in KEYS.values()]}).encode())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_is_by_its_key_and_algorithm_alone(algorithm: str) -> None:
    token = parse_token(KEYS[algorithm].sign({"sub": "jane"}))
    assert token.payload == b'{"sub": "jane"}'
    assert [key.key_id for key in SET if key.verify(algorithm, token.signature, token.message)] == [algorithm]
    own = next(key for key in SET if key.key_id == algorithm)
    assert [one for one in ALGORITHMS if own.verify(one, token.signature, token.message)] == [algorithm]
    assert token.is_signed_by(SET)
    assert not token.is_signed_by([key for key in SET if key is not own])
    nameless = parse_token(KEYS[algorithm].sign({"sub": "jane"}, kid=""))
    assert nameless.is_signed_by(SET)


def test_what_is_no_key_is_passed_over() -> None:
    good = KEYS["ES256"].as_json()
    odd: list[object] = [
        {"kty": "oct", "k": "AAAA", "kid": "a"},
        {"kty": "RSA", "kid": "b"},
        {**good, "x": good["y"]},
        {**good, "crv": "P-192"},
        {**good, "use": "enc"},
        {**good, "kid": 7},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        "a key",
    ]
    assert [key.key_id for key in parse_keys(json.dumps({"keys": [*odd, good]}).encode())] == ["ES256"]
    for document in (b"[]", b"{}", b'{"keys": 1}', b"keys"):
        with pytest.raises(ValueError, match="JSON"):
            parse_keys(document)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "e30.e30.", "\u00e9.e30.e30", "." * 300_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        parse_token(token)
