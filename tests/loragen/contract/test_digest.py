"""Digests of bytes, files and models."""

import hashlib
import json
from pathlib import Path

import pytest

from loragen.contract.bundle import content_id
from loragen.contract.digest import canonical_json, file_sha256, model_digest, sha256_hex
from loragen.contract.errors import FormatError
from loragen.contract.gguf_header import Value, lay_out, read_header, text, uint32
from loragen.contract.names import BASE_MODEL_DIGEST


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


def repacked(source: Path, target: Path, metadata: dict[str, Value], order: int = 1, alignment: int = 32) -> Path:
    """A GGUF file written anew, with other metadata, its tensors in another order and at other places."""
    header, data = read_header(source), source.read_bytes()
    tensors = header.tensors[::order]
    changed = {**header.metadata, **metadata, "general.alignment": uint32(alignment)}
    head, placed = lay_out([(info.name, info.shape, info.type) for info in tensors], changed, alignment)
    with target.open("wb") as file:
        file.write(head)
        for old, new in zip(tensors, placed.tensors, strict=True):
            file.seek(new.offset)
            file.write(data[old.offset : old.offset + old.nbytes])
        file.truncate(placed.file_bytes)
    return target


def test_digest_of_a_gguf_file_survives_a_new_header(golden: Path, tmp_path: Path) -> None:
    source = golden / "model-1.gguf"
    named = repacked(source, tmp_path / "a.gguf", {"general.name": text("other"), "a.note": text("x")}, -1, 256)
    assert model_digest(named) == model_digest(source)


@pytest.mark.parametrize("key", ["llama.block_count", "tokenizer.ggml.model", "tokenizer.chat_template", "llama.new"])
def test_digest_of_a_gguf_file_changes_with_what_decides_its_answers(golden: Path, tmp_path: Path, key: str) -> None:
    changed = repacked(golden / "model-1.gguf", tmp_path / "a.gguf", {key: text("other")})
    assert model_digest(changed) != model_digest(golden / "model-1.gguf")


def test_digest_of_a_gguf_file_changes_with_any_byte_of_its_tensors(golden: Path, tmp_path: Path) -> None:
    data = bytearray((golden / "model-1.gguf").read_bytes())
    found = {model_digest(golden / "model-1.gguf")}
    for info in read_header(golden / "model-1.gguf").tensors:
        for place in (info.offset, info.offset + info.nbytes - 1):
            data[place] ^= 1
            (tmp_path / "a.gguf").write_bytes(data)
            found.add(model_digest(tmp_path / "a.gguf"))
    assert len(found) == 5


def test_converted_gguf_file_has_the_digest_of_its_origin(golden: Path, tmp_path: Path) -> None:
    converted = repacked(golden / "model-1.gguf", tmp_path / "a.gguf", {BASE_MODEL_DIGEST: text("ab" * 32)})
    assert model_digest(converted) == "ab" * 32
    repacked(golden / "model-1.gguf", tmp_path / "a.gguf", {BASE_MODEL_DIGEST: text("abc")})
    with pytest.raises(FormatError, match="sha256"):
        model_digest(tmp_path / "a.gguf")


def test_model_digest_of_a_missing_path_says_that_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"expected a model at .*absent\.gguf, found nothing there"):
        model_digest(tmp_path / "absent.gguf")
