"""A generator with a published encoder as its prompt encoder: trained, stored, loaded, asked."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from cloud_service.generation import Asked
from cloud_service.generator import LoraGenerator, load_generator
from cloud_service.generator.checkpoint import ModelReference, read_manifest
from cloud_service.generator.edge import edge_shape
from loragen.contract.digest import model_digest
from tests.cloud_service.generator.tiny import encoder_tokenizer, random_model, record_package
from tests.training.commands import run_command
from tests.training.models import store_tiny_models, texts_of_episodes, tiny_config, tiny_model
from training.ablation import runs
from training.ablation.runs import SETTINGS, Ablation
from training.ablation.variants import VARIANTS
from training.data.episodes import Mixture
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import EpisodeBatches, GeneratorSettings, train_generator
from training.fit.trained_pair import pair_at

CONFIG = """
base = "{base}"
refine = []
[load]
cloud = "package:tiny-encoder"
[generator]
adapter_rank = {rank}
[fit]
train_cloud = {train_cloud}
recompute = {train_cloud}
"""

PROMPTS = ["Choose the tool.", "Give the last word."]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, mixture: Mixture) -> Iterator[Path]:
    """A package, installed, with a random BERT of much dropout and a tokenizer that knows some of training's words."""
    site = tmp_path_factory.mktemp("site")
    folder = site / "tiny_encoder/model"
    words = encoder_tokenizer(" ".join(texts_of_episodes(mixture, 5)))
    model = random_model("bert", 1, max_position_embeddings=512, hidden_dropout_prob=0.9)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    record_package(site, "tiny-encoder", [path.relative_to(site).as_posix() for path in folder.iterdir()])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield folder


@pytest.fixture
def run(tmp_path: Path, data: Path, encoder: Path, tokenizer: PreTrainedTokenizerFast) -> Callable[[int, bool], Path]:
    def trained(rank: int, train_cloud: bool) -> Path:
        base = store_tiny_models(tmp_path / "out", tokenizer)
        shutil.rmtree(tmp_path / "out/cloud")
        config = tmp_path / "mine.toml"
        config.write_text(CONFIG.format(base=base, rank=rank, train_cloud=str(train_cloud).lower()))
        options = ["--data", str(data), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
        run_command("train", config, *options)
        losses = [json.loads(line)["loss"] for line in (tmp_path / "runs/generator.jsonl").read_text().splitlines()]
        assert len(losses) == 3
        assert all(map(math.isfinite, losses))
        return tmp_path / "out"

    return trained


def test_adapter_is_all_that_is_stored_of_a_frozen_encoder(run: Callable[[int, bool], Path], encoder: Path) -> None:
    """The pair names the encoder, and is found by that name."""
    out = run(2, False)
    manifest = read_manifest(out / "generator")
    assert manifest.cloud_model == ModelReference("package:tiny-encoder", model_digest(encoder))
    assert not (out / "cloud").exists()
    stored = load_file(out / "generator/router.safetensors")
    assert any(value.any() for name, value in stored.items() if name.startswith("prompt_encoder.adapter.b"))
    assert Path(pair_at(out).cloud_model) == encoder
    loaded = load_generator(out / "generator", manifest.cloud_model.id, out / "edge")
    first, second = loaded.generate([Asked(prompt) for prompt in PROMPTS])
    assert (first.gates != second.gates).any()


def test_tuned_encoder_is_stored_with_its_tokenizer(run: Callable[[int, bool], Path], encoder: Path) -> None:
    out = run(0, True)
    before, after = load_file(encoder / "model.safetensors"), load_file(out / "cloud/model.safetensors")
    name = "encoder.layer.0.attention.self.query.weight"
    assert (before[name].half() != after[name]).any()
    assert Path(pair_at(out).cloud_model) == out / "cloud"
    loaded = load_generator(out / "generator", out / "cloud", out / "edge")
    first, second = loaded.generate([Asked(prompt) for prompt in PROMPTS])
    assert (first.gates != second.gates).any()


def test_ablation_of_the_adapter_starts_from_that_of_the_pair(
    run: Callable[[int, bool], Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter of the variant would have another rank."""
    pair = pair_at(run(2, False))
    begun: dict[str, torch.Tensor] = {}
    really_train = runs.train_generator

    def watch(generator: LoraGenerator, *rest: Any) -> None:
        begun.update({name: value.clone() for name, value in generator.state_dict().items()})
        really_train(generator, *rest)

    monkeypatch.setattr(runs, "train_generator", watch)
    ablation = Ablation(pair, data, tmp_path / "ablations", replace(SETTINGS, steps=1), episodes=4)
    (variant,) = [variant for variant in VARIANTS if variant.name == "adapter"]
    ablation.run(variant, seed=1)
    stored = {
        name: value
        for name, value in load_file(pair.generator / "router.safetensors").items()
        if name.startswith("prompt_encoder.")
    }
    assert {"prompt_encoder.meta", "prompt_encoder.cases", "prompt_encoder.adapter.b.0_query"} <= stored.keys()
    assert all((begun[name] == value).all() for name, value in stored.items())
    assert len(ablation.finished()) == 1


@pytest.mark.parametrize("recompute", [False, True])
def test_encoder_is_trained_on_without_its_dropout(
    tmp_path: Path, mixture: Mixture, tokenizer: PreTrainedTokenizerFast, recompute: bool
) -> None:
    """The losses are those of the same encoder without any."""
    words = encoder_tokenizer(" ".join(texts_of_episodes(mixture, 5)))
    settings = GeneratorSettings(
        steps=2, tasks=2, inputs=1, warmup=1, longest_prompt=300, longest_turn=80, recompute=recompute
    )
    losses = []
    for dropout in (0.0, 0.5):
        cloud = random_model("bert", 1, hidden_dropout_prob=dropout, max_position_embeddings=512)
        edge = EdgeAnswers(tiny_model(tokenizer, 2), tokenizer, longest=80, dtype=torch.float32)
        torch.manual_seed(0)
        generator = LoraGenerator(tiny_config(adapter_rank=2), cloud, edge_shape(edge.model.config))
        batches = EpisodeBatches(mixture, words, settings)
        losses.append(train_generator(generator, cloud, edge, batches, settings, tmp_path / str(dropout)))
    assert losses[0] == losses[1]
