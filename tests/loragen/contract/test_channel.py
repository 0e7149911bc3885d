"""Hostile channel documents: each is refused with the right error."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loragen.contract.channel import parse_channel
from loragen.contract.errors import ContractError, FormatError, LimitError, VersionError
from tests.loragen.contract.files import (
    Edit,
    Header,
)


def entry(**fields: object) -> Callable[[Header], None]:
    return lambda document: document["specializations"][0].update(fields)


def recipe(**fields: object) -> Callable[[Header], None]:
    return lambda document: document["specializations"][1]["recipe"].update(fields)


CHANNEL_EDITS: dict[str, tuple[Edit, type[ContractError]]] = {
    "of another format": (lambda document: document.update(format="list"), FormatError),
    "version 2 of the format": (lambda document: document.update(format_version=2), VersionError),
    "version as text": (lambda document: document.update(format_version="1"), VersionError),
    "version as true": (lambda document: document.update(format_version=True), FormatError),
    "a field more": (lambda document: document.update(note=""), FormatError),
    "no name": (lambda document: document.pop("name"), FormatError),
    "name of a path": (lambda document: document.update(name="../x"), FormatError),
    "negative version": (lambda document: document.update(version=-1), FormatError),
    "version beyond JSON": (lambda document: document.update(version=2**53), LimitError),
    "version true": (lambda document: document.update(version=True), FormatError),
    "version a fraction": (lambda document: document.update(version=7.0), FormatError),
    "specializations an object": (lambda document: document.update(specializations={}), FormatError),
    "a specialization of text": (lambda document: document.update(specializations=["x"]), FormatError),
    "not sorted": (lambda document: document["specializations"].reverse(), FormatError),
    "one name twice": (entry(name="parameters"), FormatError),
    "specialization named by a path": (entry(name="a/../b"), FormatError),
    "specialization named by a drive": (entry(name="c:\\x"), FormatError),
    "specialization without a name": (entry(name=None), FormatError),
    "bundle id by a path": (entry(bundle_id="../" + "0" * 61), FormatError),
    "bundle of no bytes": (entry(bundle_bytes=0), FormatError),
    "bundle over the limit": (entry(bundle_bytes=2**40), LimitError),
    "recipe over the limit": (recipe(bytes=2**40), LimitError),
    "recipe by a path": (recipe(id="../" + "0" * 61), FormatError),
    "recipe without a generator": (recipe(generator_id=None), FormatError),
    "recipe with a field more": (recipe(url="http://example.com"), FormatError),
    "recipe as text": (entry(recipe="f" * 64), FormatError),
    "no word about a recipe": (lambda document: document["specializations"][0].pop("recipe"), FormatError),
    "size as text": (entry(bundle_bytes="1"), FormatError),
    "size as true": (entry(bundle_bytes=True), FormatError),
    "specialization with a field more": (entry(url="http://example.com"), FormatError),
    "too many specializations": (lambda document: document.update(specializations=[None] * 1025), LimitError),
    "over the size limit": (lambda document: document.update(note="x" * 2**20), LimitError),
}


@pytest.mark.parametrize("attack", CHANNEL_EDITS)
def test_edited_channel_is_refused(golden: Path, attack: str) -> None:
    edit, error = CHANNEL_EDITS[attack]
    document = json.loads((golden / "channel-1.json").read_bytes())
    edit(document)
    with pytest.raises(error):
        parse_channel(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b'{"format":"channel"}', b"NaN"]
)
def test_channel_that_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises((FormatError, VersionError)):
        parse_channel(data)


def test_channel_in_another_spelling_is_refused(golden: Path) -> None:
    """One content, one byte string: spaces, another order of keys and repeated keys are not it."""
    data = (golden / "channel-1.json").read_bytes()
    for spelling in (data + b"\n", json.dumps(json.loads(data)).encode(), data.replace(b"{", b'{"version":7,', 1)):
        with pytest.raises(FormatError, match="canonical"):
            parse_channel(spelling)
