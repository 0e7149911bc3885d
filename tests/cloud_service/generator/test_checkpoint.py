"""Checkpoints that are incomplete, altered or made for other models are refused, and the message says which."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cloud_service.generation import Asked
from cloud_service.generator import CheckpointError, UnsupportedModelError, load_generator
from cloud_service.generator.checkpoint import ModelReference, read_manifest, store_generator
from cloud_service.generator.choice_head import ChoiceHeadConfig
from cloud_service.task import TaskDescription, Tool
from loragen.contract.answer import AnswerContract, Function
from loragen.contract.atomic import write_atomic
from loragen.contract.bank import Bank, write_bank
from loragen.contract.digest import file_sha256, model_digest
from tests.cloud_service.generator.tiny import (
    Pair,
    generator_config,
    load_experts,
    make_pair,
    random_generator,
    random_model,
)

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def directory(pair: Pair, tmp_path: Path) -> Path:
    """A copy of the generator's folder."""
    return Path(shutil.copytree(pair.generator, tmp_path / "generator"))


def rewrite(directory: Path, edit: Edit) -> None:
    path = directory / "generator.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("name", ["bank.safetensors", "router.safetensors"])
def test_altered_file_is_refused(pair: Pair, directory: Path, name: str) -> None:
    """One bit of the last number."""
    data = bytearray((directory / name).read_bytes())
    data[-1] ^= 1
    (directory / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{name} has sha256 {file_sha256(directory / name)}, expected "):
        load_generator(directory, pair.cloud, pair.edge)


@pytest.mark.parametrize("name", ["bank.safetensors", "router.safetensors", "generator.json"])
def test_missing_file_is_refused(pair: Pair, directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_generator(directory, pair.cloud, pair.edge)


def test_folder_that_is_not_there_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no generator\.json"):
        load_generator(tmp_path / "nowhere", pair.cloud, pair.edge)


@pytest.mark.parametrize(("wrong", "expected"), [("cloud", "test/cloud"), ("edge", "test/edge")])
def test_another_model_is_refused(pair: Pair, wrong: str, expected: str) -> None:
    """Cloud and edge model swapped for one another, one at a time."""
    folders = {"cloud": pair.cloud, "edge": pair.edge}
    folders[wrong] = pair.edge if wrong == "cloud" else pair.cloud
    with pytest.raises(CheckpointError, match=rf"{wrong} model has digest {model_digest(folders[wrong])}") as caught:
        load_generator(pair.generator, folders["cloud"], folders["edge"])
    assert expected in str(caught.value)
    assert f"load the {wrong} model {expected}" in caught.value.hint


def test_folder_without_a_model_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"edge model: expected config\.json") as caught:
        load_generator(pair.generator, pair.cloud, tmp_path)
    assert "test/edge" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"7", b'{"format": 1}', b"\xff\xfe\x00", b'{"format": 1, "config": []}']
)
def test_malformed_manifest_is_refused(pair: Pair, directory: Path, content: bytes) -> None:
    (directory / "generator.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"generator\.json is malformed"):
        load_generator(directory, pair.cloud, pair.edge)


def _unknown_setting(document: dict[str, Any]) -> None:
    document["config"]["temperature"] = 1


def _wrong_type(document: dict[str, Any]) -> None:
    document["config"]["experts"] = "8"


def _no_edge_digest(document: dict[str, Any]) -> None:
    del document["edge_model"]["digest"]


def _no_bank(document: dict[str, Any]) -> None:
    del document["files"]["bank.safetensors"]


@pytest.mark.parametrize("edit", [_unknown_setting, _wrong_type, _no_edge_digest, _no_bank])
def test_manifest_with_other_fields_is_refused(directory: Path, edit: Edit) -> None:
    rewrite(directory, edit)
    with pytest.raises(CheckpointError, match="malformed"):
        read_manifest(directory)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_format_version_is_refused(directory: Path, version: object) -> None:
    rewrite(directory, lambda document: document.update(format=version))
    with pytest.raises(CheckpointError, match=f"has format {version!r}, expected 1"):
        read_manifest(directory)


@pytest.mark.parametrize("setting", [{"rank": 4}, {"experts": 6}, {"mix": "deltas"}, {"groups": 1}, {"id": "other"}])
def test_manifest_and_bank_of_different_generators_are_refused(
    pair: Pair, directory: Path, setting: dict[str, object]
) -> None:
    """The digests fit, since whoever edits the manifest sees to that; the bank speaks for itself."""
    rewrite(directory, lambda document: document["config"].update(setting))
    with pytest.raises(CheckpointError, match=r"bank\.safetensors has .*, expected BankHeader"):
        load_generator(directory, pair.cloud, pair.edge)


def test_bank_that_is_none_is_refused(pair: Pair, directory: Path) -> None:
    (directory / "bank.safetensors").write_bytes(b"no bank")
    digest = file_sha256(directory / "bank.safetensors")
    rewrite(directory, lambda document: document["files"].update({"bank.safetensors": digest}))
    with pytest.raises(CheckpointError, match=r"bank\.safetensors: "):
        load_generator(directory, pair.cloud, pair.edge)


def _other_name(tensors: dict[str, np.ndarray]) -> None:
    tensors["unknown"] = tensors.pop("prompt_encoder.meta")


def _other_shape(tensors: dict[str, np.ndarray]) -> None:
    tensors["prompt_encoder.meta"] = tensors["prompt_encoder.meta"][:, :-1].copy()


@pytest.mark.parametrize(
    ("edit", "message"),
    [(_other_name, "other tensors than expected: .*prompt_encoder.meta"), (_other_shape, "does not fit")],
)
def test_router_file_of_another_generator_is_refused(
    pair: Pair, directory: Path, edit: Callable[[dict[str, np.ndarray]], None], message: str
) -> None:
    path = directory / "router.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)
    rewrite(directory, lambda document: document["files"].update({path.name: file_sha256(path)}))
    with pytest.raises(CheckpointError, match=message):
        load_generator(directory, pair.cloud, pair.edge)


def test_router_file_that_is_no_safetensors_is_refused(pair: Pair, directory: Path) -> None:
    path = directory / "router.safetensors"
    path.write_bytes(b"junk")
    rewrite(directory, lambda document: document["files"].update({path.name: file_sha256(path)}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_generator(directory, pair.cloud, pair.edge)


def test_edge_model_of_an_unsupported_family_is_refused(pair: Pair, directory: Path, tmp_path: Path) -> None:
    random_model("gpt2").save_pretrained(tmp_path / "gpt2")
    digest = model_digest(tmp_path / "gpt2")
    rewrite(directory, lambda document: document["edge_model"].update(digest=digest))
    with pytest.raises(UnsupportedModelError, match="edge model is of type 'gpt2'"):
        load_generator(directory, pair.cloud, tmp_path / "gpt2")


def test_storing_again_gives_the_same_digest(pair: Pair, tmp_path: Path) -> None:
    """No time stamp, no order of dictionaries: a generator has one digest."""
    first = read_manifest(pair.generator)
    again = store_generator(tmp_path, pair.original, first.cloud_model, first.edge_model)
    assert again == first


def test_all_files_of_a_checkpoint_have_the_same_permissions(pair: Pair, directory: Path) -> None:
    """One that only its owner can read would not load in a container."""
    modes = {path.stat().st_mode for path in directory.iterdir()}
    assert len(modes) == 1


def test_write_that_is_interrupted_leaves_no_valid_checkpoint(
    pair: Pair, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another generator stored over this one, stopped before its manifest: neither the old one nor the new one."""
    first = read_manifest(directory)
    other = random_generator(generator_config(), random_model("llama"), random_model("qwen2"), seed=5)

    def fail(path: Path, data: bytes) -> None:
        if path.name == "generator.json":
            raise OSError("disk full")
        write_atomic(path, data)

    monkeypatch.setattr("cloud_service.generator.checkpoint.write_atomic", fail)
    with pytest.raises(OSError, match="disk full"):
        store_generator(directory, other, first.cloud_model, first.edge_model)
    with pytest.raises(CheckpointError, match="has sha256"):
        read_manifest(directory)


def test_experts_that_overflow_float16_are_not_stored(tmp_path: Path) -> None:
    generator = random_generator(generator_config(), random_model("llama"), random_model("qwen2"))
    with torch.no_grad():
        generator.bank.a["up"][0, 0, 0, 0] = 1e6
    reference = ModelReference("test/model", "0" * 64)
    with pytest.raises(Exception, match=r"layers\.0\.up\.A"):
        store_generator(tmp_path, generator, reference, reference)
    assert not (tmp_path / "generator.json").exists()


def test_bank_on_disk_is_the_contracts(pair: Pair, tmp_path: Path) -> None:
    """Whoever holds the contract alone can read it, and write the same bytes."""
    bank = Bank.open(pair.generator / "bank.safetensors")
    bank.verify_finite()
    write_bank(tmp_path / "bank", bank.header, {name: bank.tensor(name) for name in bank.header.tensor_specs()})
    assert file_sha256(tmp_path / "bank") == bank.digest


def test_ungated_experts_lie_behind_the_gated_ones(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The bank has all of them, the gates of a task say which of them act, and loading finds all of them again."""
    pair = make_pair(
        tmp_path_factory.mktemp("pair"),
        call_experts=2,
        label_experts=3,
        residual_prompt_tokens=50,
        choice=ChoiceHeadConfig(first_layer=1, rank=5),
        codes=(40, 41),
    )
    loaded = load_generator(pair.generator, pair.cloud, pair.edge)
    assert loaded.info.experts == loaded.bank.header.experts == 10
    task = TaskDescription("Is it a question? Answer yes or no.")
    tools = (Tool("wake", "set an alarm"), Tool("play", "play music"))
    call = AnswerContract("tool_calls", functions=(Function("wake"),))
    asked = {
        "gated": Asked("route the message"),
        "calls": Asked("route the message", answer=call),
        "labels": Asked.of(task),
        "tools": Asked.of(replace(task, tools=tools)),
        "long": Asked.of(replace(task, description="x " * 60 + task.description)),
    }
    gates = {name: loaded.generate([each])[0].gates for name, each in asked.items()}
    assert all(each.shape == (2, 3, 10) for each in gates.values())
    acting = {name: each.reshape(-1, 10).any(0).tolist() for name, each in gates.items()}
    assert acting["gated"] == [True] * 5 + [False] * 5
    assert acting["calls"] == [False] * 5 + [True] * 2 + [False] * 3
    assert acting["labels"] == [False] * 7 + [True] * 3
    assert (gates["calls"][..., 5:7] == 1).all()
    assert (gates["labels"][..., 7:] == 1).all()
    assert not any(acting["tools"]), "tools are told by the choice head alone"
    assert not any(acting["long"]), "label experts are trained with a residual prompt"
    (labels,) = loaded.generate([asked["labels"]])
    assert (labels.residual_prompt, labels.answer.codes) == (task.description, (40, 41))

    again = random_generator(pair.original.config, random_model("llama", seed=1), random_model("qwen2", seed=2), seed=9)
    load_experts(pair.generator, again)
    assert len(again.banks) == 3
    for bank, original in zip(again.banks, pair.original.banks, strict=True):
        for projection in ("gate", "up", "down"):
            assert torch.equal(bank.a[projection], original.a[projection])
            assert torch.equal(bank.b[projection], original.b[projection])
