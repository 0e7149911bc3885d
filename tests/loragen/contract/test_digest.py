"""Digests of bytes, files and models."""

import hashlib
import json
from pathlib import Path

import pytest

from loragen.contract.bundle import content_id
from loragen.contract.digest import canonical_json, file_sha256, model_digest, sha256_hex
from loragen.contract.errors import FormatError


def test_model_digest_covers_configuration_and_weights_only(tmp_path: Path) -> None:
    """The documented definition, and that a tokenizer may change."""
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "b.safetensors").write_bytes(b"b")
    (tmp_path / "a.safetensors").write_bytes(b"a")
    (tmp_path / "tokenizer.json").write_bytes(b"1")
    listing = {name: hashlib.sha256(content).hexdigest() for name, content in
               (("config.json", b"{}"), ("a.safetensors", b"a"), ("b.safetensors", b"b"))}  # fmt: skip
    digest = model_digest(tmp_path)
    assert digest == hashlib.sha256(json.dumps(listing, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (tmp_path / "tokenizer.json").write_bytes(b"2")
    assert model_digest(tmp_path) == digest
    (tmp_path / "a.safetensors").write_bytes(b"x")
    assert model_digest(tmp_path) != digest


@pytest.mark.parametrize("present", [[], ["config.json"], ["model.safetensors"]])
def test_directory_that_is_no_model_has_no_digest(tmp_path: Path, present: list[str]) -> None:
    for name in present:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FormatError, match=r"config\.json"):
        model_digest(tmp_path)


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex(b"abc") == file_sha256(tmp_path / "file") == content_id(memoryview(b"abc")) == expected


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": [1, "ä"], "a": {}}) == b'{"a":{},"b":[1,"\\u00e4"]}'
