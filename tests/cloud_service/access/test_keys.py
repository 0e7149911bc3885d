"""API keys as values."""

import re
from dataclasses import replace

import pytest

from cloud_service.access.keys import (
    KEY_PATTERN,
    ApiKey,
    digest_of,
    encode_key,
    id_of,
    make_token,
    parse_key,
)
from cloud_service.access.scopes import Scope
from cloud_service.errors import IntegrityError

KEY = ApiKey("0" * 12, "a" * 64, "build", (Scope.READ, Scope.PUBLISH), "acme", "", 1_000, 2_000)


def test_key_is_found_by_a_scanner_and_names_its_id() -> None:
    token, key_id = make_token()
    assert re.findall(KEY_PATTERN, f'key = "{token}"') == [key_id]
    assert id_of(token) == key_id
    assert make_token()[0] != token


@pytest.mark.parametrize("spoil", [lambda t: t[:-1], lambda t: t + "a", lambda t: t.replace("loragen", "lorage")])
def test_part_of_a_key_is_none(spoil: object) -> None:
    assert callable(spoil)
    assert id_of(spoil(make_token()[0])) is None


def test_key_with_another_character_is_none() -> None:
    token, _ = make_token()
    for place in (10, 30, len(token) - 1):
        other = "a" if token[place] != "a" else "b"
        assert id_of(token[:place] + other + token[place + 1 :]) is None


def test_texts_that_are_no_keys_are_none_and_have_digests() -> None:
    for text in ("", "x", "loragen_", "\udcff", "ключ", "a" * 10_000):
        assert id_of(text) is None
        assert len(digest_of(text)) == 64


def test_state_follows_the_clock_and_revocation() -> None:
    assert KEY.state(1_999) == "active"
    assert KEY.state(2_000) == "expired"
    assert replace(KEY, revoked_at=1_500).state(1_600) == "revoked"
    assert replace(KEY, expires_at=None).state(10**10) == "active"


def test_stored_key_is_read_as_it_was_and_has_no_secret() -> None:
    token, _ = make_token()
    key = replace(KEY, digest=digest_of(token))
    assert parse_key(encode_key(key)) == key
    assert token[-49:].encode() not in encode_key(key)
    assert key.is_key(digest_of(token))
    assert not key.is_key(digest_of(token + "x"))
    assert key.digest not in repr(key)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"scopes": ["root"]}', b'{"scopes": 1}', b"\xff"])
def test_damaged_key_is_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_key(data)
