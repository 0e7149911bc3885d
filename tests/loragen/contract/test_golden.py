"""Golden bytes of format version 1: what was once written is read and written forever."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors.numpy

from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank, write_bank
from loragen.contract.bundle import content_id, encode_bundle, parse_bundle
from loragen.contract.channel import encode_channel, parse_channel
from loragen.contract.digest import model_digest
from loragen.contract.lora import EdgeShape
from loragen.contract.recipe import Recipe, encode_recipe, gates_digest, parse_recipe

CASES = ("parameters", "deltas", "choice")
"""The two mixes, and the first one beside a choice head."""


def test_golden_files_are_what_the_plain_reference_makes(
    golden: Path, reference: ModuleType, gguf_reference: ModuleType
) -> None:
    """The folder holds exactly the files of both references, which know nothing of `contract`."""
    files = {
        path.name: path.read_bytes() for path in golden.iterdir() if path.suffix in {".safetensors", ".json", ".gguf"}
    }
    assert files == reference.golden_files() | {"model-1.gguf": gguf_reference.gguf_bytes()}


@pytest.mark.parametrize("case", CASES)
def test_bundle_from_bank_and_recipe_is_golden(golden: Path, case: str) -> None:
    """Assembly and encoding give the golden bundle, byte for byte."""
    bank = Bank.open(golden / f"bank-1-{case}.safetensors")
    recipe = parse_recipe((golden / f"recipe-1-{case}.safetensors").read_bytes())
    assert build_bundle(bank, recipe) == (golden / f"bundle-1-{case}.safetensors").read_bytes()


def test_golden_ids_never_change(golden: Path) -> None:
    """The digests stand here too, so that the reference and the files cannot drift together."""
    ids = {path.name: content_id(path.read_bytes()) for path in golden.glob("bundle-1-*")}
    assert ids == {
        "bundle-1-imported.safetensors": "58bbb2189e9710f5d07b039318d3ed41368b7d217b961c8ef5cbe17984041b11",
        "bundle-1-parameters.safetensors": "b98158f34bf9f9a99db24382b8bb62cc6a2198f59d1bca8c001719677750b0b4",
        "bundle-1-deltas.safetensors": "cbe079dc30c1c617ff6e8b280058bf9c6fbcc03a684384464c3e3b3245b3f660",
        "bundle-1-choice.safetensors": "df46bcada2e3beccc4b43ffa0fcc5131dc0282bd859f0bd7a352be437757f8e0",
    }


def test_golden_gguf_model_has_the_documented_digest(golden: Path, gguf_reference: ModuleType) -> None:
    expected = "5f7ad640d937c8d42a02a22aba1fc72d9e2246de74a17b375f7378a6c1e39036"
    assert model_digest(golden / "model-1.gguf") == gguf_reference.gguf_digest() == expected


def test_golden_bundle_says_where_it_comes_from(golden: Path) -> None:
    """Every header field of the golden bundle is read back."""
    bundle = parse_bundle((golden / "bundle-1-parameters.safetensors").read_bytes())
    recipe = parse_recipe((golden / "recipe-1-parameters.safetensors").read_bytes())
    header = bundle.header
    assert (header.generator_id, header.generator_digest) == ("golden", "a" * 64)
    assert (header.edge_model_id, header.edge_model_digest) == ("golden/edge", "b" * 64)
    assert header.shape == EdgeShape(layers=2, hidden=4, intermediate=6)
    assert header.gates_digest == gates_digest(recipe.gates)
    assert (header.prompt_tokens, header.tokens_saved_per_call) == (257, 257)
    assert (header.residual_prompt, header.residual_prompt_tokens) == ("", 0)
    assert header.answer == TEXT_ANSWER
    assert set(bundle.lora.ranks.values()) == {2}


def test_golden_bundle_of_deltas_has_only_what_was_chosen(golden: Path) -> None:
    """Each projection has the rank of its own choice; the one that chose nothing is not there."""
    bundle = parse_bundle((golden / "bundle-1-deltas.safetensors").read_bytes())
    assert bundle.header.answer == AnswerContract("choice", ("yes", "nö"))
    assert (bundle.header.residual_prompt, bundle.header.residual_prompt_tokens) == (
        "Sort each mail.\nBe brief: 集.",
        9,
    )
    assert bundle.header.tokens_saved_per_call == 257 - 9
    assert list(bundle.lora.ranks.items()) == [
        ((0, "gate"), 4),
        ((0, "up"), 2),
        ((1, "gate"), 2),
        ((1, "up"), 4),
        ((1, "down"), 6),
    ]


def test_golden_bundle_of_a_choice_has_the_head_beside_the_mixture(golden: Path) -> None:
    """Layer 0 is not adapted and has the head alone, layer 1 has both in `down`, and no gates for `gate`."""
    bundle = parse_bundle((golden / "bundle-1-choice.safetensors").read_bytes())
    recipe = parse_recipe((golden / "recipe-1-choice.safetensors").read_bytes())
    assert bundle.lora.ranks == {(0, "down"): 3, (1, "up"): 2, (1, "down"): 5}
    assert bundle.header.answer == recipe.answer == AnswerContract("choice", ("yes", "no"), (7, 5))
    assert bundle.header.gates_digest == gates_digest(recipe.gates, recipe.keys)
    assert bundle.header.gates_digest != gates_digest(recipe.gates)


def test_golden_imported_bundle_has_attention_and_no_origin(golden: Path) -> None:
    data = (golden / "bundle-1-imported.safetensors").read_bytes()
    bundle = parse_bundle(data)
    header = bundle.header
    assert header.is_imported
    assert (header.generator_id, header.generator_digest, header.gates_digest) == (None, None, None)
    assert list(bundle.lora.ranks.items()) == [
        ((1, "down"), 1),
        ((1, "q"), 1),
        ((1, "k"), 2),
        ((1, "v"), 2),
        ((1, "o"), 3),
    ]
    assert encode_bundle(bundle) == data


def test_golden_recipe_is_encoded_from_its_values(golden: Path) -> None:
    """A recipe made from literal values has the golden bytes."""
    recipe = Recipe(
        generator_id="golden",
        generator_digest="a" * 64,
        bank_digest=Bank.open(golden / "bank-1-parameters.safetensors").digest,
        edge_model_id="golden/edge",
        edge_model_digest="b" * 64,
        prompt_tokens=257,
        gates=np.array([[[0.75, 0.0, 0.25]], [[0.1, -1.5, 1e-12]]], np.float32),
    )
    assert encode_recipe(recipe) == (golden / "recipe-1-parameters.safetensors").read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_golden_bank_is_written_again_byte_for_byte(golden: Path, tmp_path: Path, case: str) -> None:
    bank = Bank.open(golden / f"bank-1-{case}.safetensors")
    tensors = {name: bank.tensor(name) for name in bank.header.tensor_specs()}
    write_bank(tmp_path / "bank", bank.header, tensors)
    assert (tmp_path / "bank").read_bytes() == (golden / f"bank-1-{case}.safetensors").read_bytes()
    assert bytes(bank.data) == (tmp_path / "bank").read_bytes()
    bank.verify_finite()


def test_golden_channel_round_trips(golden: Path) -> None:
    data = (golden / "channel-1.json").read_bytes()
    channel = parse_channel(data)
    assert (channel.name, channel.version) == ("lobby", 7)
    assert [specialization.name for specialization in channel.specializations] == [
        "choice",
        "deltas",
        "imported",
        "parameters",
    ]
    assert [specialization.recipe is None for specialization in channel.specializations] == [False, False, True, False]
    assert encode_channel(channel) == data


@pytest.mark.parametrize(
    "name", [f"{kind}-1-{case}.safetensors" for kind in ("bundle", "recipe", "bank") for case in CASES]
)
def test_the_safetensors_package_reads_every_golden_file(golden: Path, reference: ModuleType, name: str) -> None:
    """The container is plain safetensors: names, shapes and numbers are what another reader sees."""
    kind, case = name.split(".")[0].split("-1-")
    tensors = safetensors.numpy.load((golden / name).read_bytes())
    if kind == "bank":
        expected = reference.bank_tensors(case)
    elif kind == "recipe":
        expected = reference.recipe_tensors(case)
    if kind != "bundle":
        assert tensors.keys() == expected.keys()
        for tensor_name, (_, shape, values) in expected.items():
            found = tensors[tensor_name]
            np.testing.assert_array_equal(found, np.array(values, found.dtype).reshape(shape))
    else:
        lora = parse_bundle((golden / name).read_bytes()).lora
        assert len(tensors) == 2 * len(lora.factors)
        for (layer, projection), (a, b) in lora.factors.items():
            prefix = f"base_model.model.model.layers.{layer}.mlp.{projection}_proj"
            np.testing.assert_array_equal(tensors[f"{prefix}.lora_A.weight"], a)
            np.testing.assert_array_equal(tensors[f"{prefix}.lora_B.weight"], b)


def test_bundle_header_is_readable_json_in_canonical_form(golden: Path) -> None:
    """Length, sorted keys, no white space but the padding to 8 bytes."""
    data = (golden / "bundle-1-parameters.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    text = header.rstrip(b" ")
    assert length % 8 == 0
    assert len(header) - len(text) < 8
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode() == text
    assert encode_bundle(parse_bundle(data)) == data
