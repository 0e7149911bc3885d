"""Trains the default pair from public data: tokenizer, edge LM, cloud LM, generator, each step resumable.

    python -m training.nano --data DIR --out models/nano

The GGUF master is made from the result by `loragen-edge convert`, since training does not know the device. `--tiny`
runs the same chain at toy size. What was tried and what it gave is in docs/experiments.md.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from cloud_service.generator import GeneratorConfig, LoraGenerator
from cloud_service.generator.checkpoint import ModelReference, store_generator
from cloud_service.generator.edge import edge_shape
from contract.digest import model_digest
from training.episodes import Mixture
from training.families import load_mixture
from training.generator import EdgeAnswers, EpisodeBatches, GeneratorSettings, train_generator
from training.pretrain import (
    LanguageModelSize,
    PackedRows,
    PretrainSettings,
    grow_model,
    make_model,
    pretrain,
    sample_paragraphs,
)
from training.tokenizer import sample_texts, train_tokenizer


@dataclass(frozen=True, slots=True)
class NanoRecipe:
    """Everything that decides what comes out.

    Attributes:
        cloud_layers: For each layer of the cloud LM, the edge layer it starts from.
    """

    vocabulary: int
    context: int
    tokenizer_episodes: int
    tokenizer_paragraphs: int
    paragraphs: int
    edge: LanguageModelSize
    cloud_layers: tuple[int, ...]
    edge_pretrain: PretrainSettings
    cloud_pretrain: PretrainSettings
    generator: GeneratorConfig
    fit: GeneratorSettings


NANO = NanoRecipe(
    vocabulary=4096,
    context=1024,
    tokenizer_episodes=12_000,
    tokenizer_paragraphs=12_000,
    paragraphs=24_000,
    edge=LanguageModelSize(hidden=256, intermediate=768, layers=6, heads=4, key_value_heads=2),
    cloud_layers=(0, 1, 2, 3, 2, 3, 4, 5, 4, 5),
    edge_pretrain=PretrainSettings(steps=1500),
    cloud_pretrain=PretrainSettings(steps=250, learning_rate=1e-3, warmup=20, seed=1),
    generator=GeneratorConfig(
        id="nano",
        experts=48,
        gating="dense",
        groups=3,
        rank=8,
        alpha=8.0,
        norm="layer",
        router_width=256,
        adapter_rank=0,
        max_prompt_tokens=1000,
    ),
    fit=GeneratorSettings(
        steps=2600,
        tasks=12,
        inputs=8,
        learning_rate=1.5e-3,
        cloud_learning_rate=5e-4,
        train_cloud=True,
        weight_decay=0.01,
    ),
)
TINY = NanoRecipe(
    vocabulary=400,
    context=512,
    tokenizer_episodes=50,
    tokenizer_paragraphs=10,
    paragraphs=20,
    edge=LanguageModelSize(hidden=32, intermediate=64, layers=2, heads=2, key_value_heads=1),
    cloud_layers=(0, 1, 1),
    edge_pretrain=PretrainSettings(steps=3, rows=2, length=64, warmup=1),
    cloud_pretrain=PretrainSettings(steps=2, rows=2, length=64, warmup=1, seed=1),
    generator=GeneratorConfig(
        id="tiny",
        experts=4,
        gating="dense",
        groups=3,
        rank=2,
        alpha=2.0,
        norm="layer",
        router_width=16,
        adapter_rank=0,
        max_prompt_tokens=400,
    ),
    fit=GeneratorSettings(steps=3, tasks=4, inputs=2, train_cloud=True, warmup=1, longest_prompt=400, longest_turn=96),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the chain from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.nano", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of packed public data (training/corpus.py)")
    parser.add_argument("--out", type=Path, help="where the pair goes (models/nano; with --tiny, build/tiny)")
    parser.add_argument(
        "--runs", type=Path, help="checkpoints; a second call resumes (runs/nano; with --tiny, runs/tiny)"
    )
    parser.add_argument("--tiny", action="store_true", help="toy sizes, under a minute")
    arguments = parser.parse_args(argv)
    recipe, out, runs = (NANO, Path("models/nano"), Path("runs/nano"))
    if arguments.tiny:  # never in the place of the real pair
        recipe, out, runs = (TINY, Path("build/tiny"), Path("runs/tiny"))
    train_pair(recipe, arguments.data, arguments.out or out, arguments.runs or runs, compiled=not arguments.tiny)


def train_pair(recipe: NanoRecipe, data: Path, out: Path, runs: Path, compiled: bool) -> None:
    """Trains whatever is not yet finished under `runs`, and writes the pair to `out`."""
    mixture = load_mixture(data)
    tokenizer = _tokenizer(recipe, mixture, data, runs)
    paragraphs = sample_paragraphs(data, recipe.paragraphs, seed=0)

    edge_source = make_model(recipe.edge, tokenizer, recipe.edge_pretrain.seed)
    rows = PackedRows(mixture, paragraphs, tokenizer, recipe.edge_pretrain)
    pretrain(edge_source, rows, recipe.edge_pretrain, runs / "edge", "edge LM", compiled)
    cloud = grow_model(edge_source, list(recipe.cloud_layers))
    rows = PackedRows(mixture, paragraphs, tokenizer, recipe.cloud_pretrain)
    pretrain(cloud, rows, recipe.cloud_pretrain, runs / "cloud", "cloud LM", compiled)

    edge_reference = _store_model(edge_source, tokenizer, out / "edge", "nano-edge")
    frozen = LlamaForCausalLM.from_pretrained(out / "edge", dtype=torch.bfloat16)
    edge = EdgeAnswers(frozen, tokenizer, recipe.fit.longest_turn)
    torch.manual_seed(recipe.fit.seed)
    generator = LoraGenerator(recipe.generator, cloud, edge_shape(edge_source.config))
    batches = EpisodeBatches(mixture, tokenizer, recipe.fit)
    train_generator(generator, cloud, edge, batches, recipe.fit, runs / "generator")
    cloud_reference = _store_model(cloud, tokenizer, out / "cloud", "nano-cloud")
    store_generator(out / "generator", generator, cloud_reference, edge_reference)


def _tokenizer(recipe: NanoRecipe, mixture: Mixture, data: Path, runs: Path) -> PreTrainedTokenizerFast:
    folder = runs / "tokenizer"
    if not folder.exists():
        texts = sample_texts(mixture, data, 0, recipe.tokenizer_episodes, recipe.tokenizer_paragraphs)
        train_tokenizer(texts, recipe.vocabulary, recipe.context).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _store_model(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path, name: str
) -> ModelReference:
    shutil.rmtree(folder, ignore_errors=True)
    state = {key: value.to(torch.float16) for key, value in model.state_dict().items()}
    copy = LlamaForCausalLM(model.config).to(torch.float16)
    copy.load_state_dict(state)
    copy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelReference(name, model_digest(folder))


if __name__ == "__main__":
    main()
