"""A stored generator at work: the gates of the module in memory, one prompt at a time or many."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoTokenizer, BertForMaskedLM

from cloud_service.generation import Asked, LoadedGenerator
from cloud_service.generator import CheckpointError, TorchGenerator, load_generator
from cloud_service.generator.checkpoint import read_manifest
from cloud_service.generator.pretrained import load_cloud_model
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right
from cloud_service.task import Example, TaskDescription, render_prompt, residual_texts
from loragen.contract.assembly import build_bundle
from loragen.contract.bundle import parse_bundle
from loragen.contract.digest import file_sha256, model_digest
from tests.cloud_service.generator.tiny import Pair, make_pair, random_model

PROMPTS = ["route the message to a tool", "x", "Classify the review: positive or negative?\n\nExamples: ünïcödé 東京"]


@pytest.fixture(scope="module")
def loaded(pair: Pair) -> TorchGenerator:
    return load_generator(pair.generator, pair.cloud, pair.edge)


def gates_in_memory(pair: Pair, prompt: str) -> np.ndarray:
    ids = encode_prompts(AutoTokenizer.from_pretrained(pair.cloud), [prompt])
    with torch.inference_mode():
        gates: np.ndarray = pair.original(*pad_right(ids))[0].numpy()
    return gates


def test_loaded_generator_gives_the_gates_of_the_module_in_memory(pair: Pair, loaded: TorchGenerator) -> None:
    for prompt, generation in zip(PROMPTS, loaded.generate([Asked(prompt) for prompt in PROMPTS]), strict=True):
        assert generation.gates.dtype == np.float32
        assert generation.gates.shape == (2, 3, 5)
        assert np.array_equal(generation.gates, gates_in_memory(pair, prompt))


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "layer", "gating": "topk_softmax", "groups": 1, "adapter_rank": 0},
        {"norm": "none", "gating": "topk_softmax", "mix": "deltas"},
    ],
)
def test_round_trip_in_other_settings(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, object]) -> None:
    pair = make_pair(tmp_path_factory.mktemp("pair"), **changes)
    generation = load_generator(pair.generator, pair.cloud, pair.edge).generate([Asked(PROMPTS[0])])[0]
    assert np.array_equal(generation.gates, gates_in_memory(pair, PROMPTS[0]))


def test_prompt_gives_the_same_bits_alone_and_in_company(loaded: TorchGenerator) -> None:
    together = loaded.generate([Asked(prompt) for prompt in (*PROMPTS, PROMPTS[0])])
    for prompt, generation in zip(PROMPTS, together, strict=False):
        alone = loaded.generate([Asked(prompt)])[0]
        assert alone.gates.tobytes() == generation.gates.tobytes()
        assert alone.prompt_tokens == generation.prompt_tokens
    assert together[0].gates.tobytes() == together[3].gates.tobytes()
    assert together[0].gates.tobytes() != together[1].gates.tobytes()


@pytest.mark.parametrize(
    ("reads", "changes"), [("bert", {"adapter_rank": 2}), ("roberta", {"norm": "layer", "adapter_rank": 0})]
)
def test_encoder_reads_as_it_did_in_memory_alone_and_in_company(
    tmp_path_factory: pytest.TempPathFactory, reads: str, changes: dict[str, object]
) -> None:
    """Nothing says that it is one but the model itself; its adapter is stored, its weights are not."""
    pair = make_pair(tmp_path_factory.mktemp("pair"), reads, **changes)
    loaded = load_generator(pair.generator, pair.cloud, pair.edge)
    for prompt, generation in zip(PROMPTS, loaded.generate([Asked(prompt) for prompt in PROMPTS]), strict=True):
        assert np.array_equal(generation.gates, gates_in_memory(pair, prompt))
    assert loaded.count_tokens("route the message") == 5
    stored = load_file(pair.generator / "router.safetensors")
    adapters = [name for name in stored if name.startswith("prompt_encoder.adapter.")]
    assert len(adapters) == (8 if changes["adapter_rank"] else 0), "A and B of q and v, two layers"
    assert not any("embeddings" in name for name in stored)


def test_encoder_of_masked_words_loses_its_head(tmp_path: Path) -> None:
    """BERT is published so; as a causal LM, which transformers would make of it, it would read with a mask missing."""
    made = BertForMaskedLM(random_model("bert").config)
    made.save_pretrained(tmp_path)
    loaded = load_cloud_model(tmp_path, torch.float32)
    assert loaded.get_output_embeddings() is None
    assert torch.equal(loaded.get_input_embeddings().weight, made.get_input_embeddings().weight)


def test_generator_refuses_another_encoder_than_its_own(pair: Pair, tmp_path: Path) -> None:
    """One bit of the weights is enough: a package that changes is not read with."""
    cloud = Path(shutil.copytree(pair.cloud, tmp_path / "cloud"))
    weights = bytearray((cloud / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (cloud / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="cloud model has digest"):
        load_generator(pair.generator, cloud, pair.edge)


def test_tokens_are_counted_by_the_model_that_reads_them(pair: Pair, loaded: TorchGenerator) -> None:
    """Requests are bounded in cloud tokens, its first included; savings are told in edge tokens."""
    prompt = PROMPTS[0]
    cloud, edge = (AutoTokenizer.from_pretrained(folder) for folder in (pair.cloud, pair.edge))
    assert loaded.count_tokens(prompt) == len(cloud(prompt)["input_ids"]) + 1
    assert loaded.generate([Asked(prompt)])[0].prompt_tokens == len(edge(prompt)["input_ids"])
    assert len(edge(prompt)["input_ids"]) < len(cloud(prompt)["input_ids"])


def test_no_prompts_and_an_empty_prompt(loaded: TorchGenerator) -> None:
    assert loaded.generate([]) == []
    assert loaded.generate([Asked("")])[0].prompt_tokens == 0
    assert np.isfinite(loaded.generate([Asked("")])[0].gates).all()


def test_short_description_is_kept_and_not_counted_as_saved(tmp_path: Path, loaded: TorchGenerator) -> None:
    """By a generator that was trained so; its gates are the same."""
    pair = make_pair(tmp_path, residual_prompt_tokens=12)
    keeps = load_generator(pair.generator, pair.cloud, pair.edge)
    edge = AutoTokenizer.from_pretrained(pair.edge)
    short = TaskDescription("route the message", output_format="a tool")
    for task, kept in ((short, "route the message\na tool"), (replace(short, description="route " * 20), "")):
        (generation,) = keeps.generate([Asked.of(task)])
        tokens = len(edge(kept)["input_ids"]) if kept else 0
        assert (generation.residual_prompt, generation.residual_prompt_tokens) == (kept, tokens)
        recipe = generation.recipe(keeps.info, keeps.bank.digest)
        header = parse_bundle(build_bundle(keeps.bank, recipe)).header
        assert (header.residual_prompt, header.residual_prompt_tokens) == (kept, tokens)
        assert header.tokens_saved_per_call == len(edge(render_prompt(task))["input_ids"]) - tokens
        (without,) = loaded.generate([Asked.of(task)])
        assert (without.residual_prompt, without.residual_prompt_tokens) == ("", 0)


def test_as_many_examples_are_kept_as_fit(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, residual_prompt_tokens=60)
    keeps = load_generator(pair.generator, pair.cloud, pair.edge)
    edge = AutoTokenizer.from_pretrained(pair.edge)
    task = TaskDescription("route the message", tuple(Example(f"the message {n}", "a tool") for n in range(9)))
    texts = residual_texts(task)
    lengths = [len(edge(text)["input_ids"]) for text in texts]
    (generation,) = keeps.generate([Asked.of(task)])
    kept = texts.index(generation.residual_prompt)
    assert 0 < kept < len(texts) - 1
    assert lengths[kept] == generation.residual_prompt_tokens <= 60 < lengths[kept - 1]


def test_info_tells_what_was_loaded(pair: Pair, loaded: TorchGenerator) -> None:
    port: LoadedGenerator = loaded
    info = port.info
    assert (info.id, info.cloud_model_id, info.edge_model_id) == ("test", "test/cloud", "test/edge")
    assert info.digest == file_sha256(pair.generator / "generator.json") == read_manifest(pair.generator).digest
    assert info.cloud_model_digest == model_digest(pair.cloud)
    assert info.edge_model_digest == model_digest(pair.edge)
    assert (info.layers, info.groups, info.experts, info.rank, info.alpha) == (2, 3, 5, 2, 3.0)
    assert (info.mix, info.gating, info.max_prompt_tokens) == ("parameters", "dense", 200)
    assert port.bank.digest == file_sha256(pair.generator / "bank.safetensors")


def test_gates_and_bank_become_a_bundle(loaded: TorchGenerator) -> None:
    """What the service does with a generation."""
    generation, info = loaded.generate([Asked(PROMPTS[0])])[0], loaded.info
    recipe = generation.recipe(info, loaded.bank.digest)
    bundle = parse_bundle(build_bundle(loaded.bank, recipe))
    assert (bundle.lora.shape.layers, set(bundle.lora.ranks.values())) == (2, {2})
    assert bundle.header.prompt_tokens == generation.prompt_tokens
