"""Runs the ablations on a trained pair, in equal short runs: `python -m training ablate --data DIR`.

All variants train the same number of steps, on the same tasks, over the same models, once for each seed; then each is
scored on the same validation episodes. Routers and experts start anew. The prompt encoder does not, which gives an
advantage to the gating that it was trained with. It is the pair's own and frozen, so that the states of a prompt are
computed once for all variants, and charged to none. What training it costs is the last row, where the cloud model's
LoRA on q and v is trained, as in the paper: the pair's own or a new one.

A finished run is one line of `results.jsonl`, so that a second call goes on where the first was ended, inside a run
too. Runs over other models are kept separate by digest; those on other data, or of another version of this code, need
another folder.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from cloud_service.generator import GeneratorConfig, LoraGenerator
from cloud_service.generator.checkpoint import ROUTER_FILE, read_manifest
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.pretrained import load_cloud_model, load_language_model, load_tokenizer
from cloud_service.generator.prompt_encoder import pad_right
from loragen.client import ModelPair
from loragen.contract.digest import model_digest
from training.ablation.direct import DirectGenerator
from training.ablation.prompt_states import RememberingPromptEncoder
from training.ablation.variants import PAPER, Variant
from training.data.episodes import Mixture
from training.data.families import Sources, load_mixture
from training.evaluation.edge_writer import EdgeWriter
from training.evaluation.suites import SuiteSizes, load_suites
from training.evaluation.validation import LONGEST_ANSWER, ValidationSet
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import EpisodeBatches, GeneratorSettings, train_generator
from training.fit.oracle import OracleSettings, TaskFactors, fit_oracles
from training.fit.trained_pair import load_trained_prompt_encoder

FAMILIES = ("tools", "classify", "extract", "transform")
"""Published instructions are left out: their long prompts and answers take most of a step."""

KINDS = ("route", "classify", "extract", "transform")
"""The same families, as suites call them."""

SETTINGS = GeneratorSettings(
    steps=60,
    tasks=6,
    inputs=4,
    learning_rate=3e-3,
    cloud_learning_rate=5e-4,
    warmup=10,
    lora_dropout=0.05,
    longest_prompt=PAPER.max_prompt_tokens,
    longest_turn=96,
)


@dataclass(frozen=True, slots=True)
class Result:
    """One finished run, as a line of `results.jsonl`.

    Attributes:
        variant, seed, steps: Which run.
        models: Digests of cloud model, edge model and what the generator adds to the cloud model.
        parameters: Trained.
        tokens: That the run's steps took, cloud and edge model together.
        cpu_seconds: Of training without a frozen prompt encoder's part, in the call that finished it.
        cross_entropy, exact_match: As `Scores` has them.
    """

    variant: str
    seed: int
    steps: int
    models: list[str]
    parameters: int
    tokens: int
    cpu_seconds: float
    cross_entropy: Mapping[str, float]
    exact_match: float


def start_from_oracles(bank: ExpertBank, oracles: Sequence[TaskFactors]) -> None:
    """Writes the factors of an oracle into each expert: a gate of 1 gives that oracle."""
    scale = bank.config.alpha / bank.config.rank
    with torch.no_grad():
        for expert, oracle in enumerate(oracles):
            for (layer, projection), (a, b) in oracle.items():  # the scale is folded into an oracle's B
                bank.a[projection][layer, expert] = a[0]
                bank.b[projection][layer, expert] = b[0] / scale


class Ablation:
    """Runs variants over one pair of frozen models.

    Args:
        pair: Where the models and the generator are.
        data: Packed public data.
        runs: Folder of results and unfinished runs.
        settings: Of every run, the seed and what a variant changes aside.
        episodes: Validation episodes.
    """

    def __init__(self, pair: ModelPair, data: Path, runs: Path, settings: GeneratorSettings, episodes: int) -> None:
        self._cloud_path, self._runs, self._settings = Path(pair.cloud_model), runs, settings
        self._models = [
            model_digest(self._cloud_path),
            model_digest(Path(pair.edge_model)),
            read_manifest(pair.generator).files[ROUTER_FILE],
        ]
        self._mixture = _without_instructions(load_mixture(Sources(data), settings.tools, settings.families))
        self._dtype = settings.dtype_on(torch.device("cpu"))
        self._prompt_encoder: Any = RememberingPromptEncoder(load_trained_prompt_encoder(pair, self._dtype))
        self._tokenizer: PreTrainedTokenizerBase = load_tokenizer(Path(pair.cloud_model))
        tokenizer = load_tokenizer(Path(pair.edge_model))
        edge = load_language_model(Path(pair.edge_model), self._dtype)
        self._edge = EdgeAnswers(edge, tokenizer, settings.longest_turn, self._dtype)
        longest = settings.longest_turn + LONGEST_ANSWER
        self._data, self._oracle_edge = data, EdgeAnswers(edge, tokenizer, longest, self._dtype)
        drawn = EpisodeBatches(self._mixture, self._tokenizer, replace(settings, tasks=episodes, seed=0))
        writer = EdgeWriter(edge, tokenizer, longest)
        self._validation = ValidationSet(drawn.draw(0, "validation")[0], self._tokenizer, self._edge, writer)

    def finished(self) -> list[Result]:
        """The runs of so many steps over these models that are on disk."""
        path = self._runs / "results.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        results = [Result(**json.loads(line)) for line in lines]
        return [r for r in results if r.steps == self._settings.steps and r.models == self._models]

    def run_missing(self, variants: Sequence[Variant], seeds: int) -> None:
        """Runs what is not finished, seed by seed from 1."""
        for seed in range(1, seeds + 1):
            done = {result.variant for result in self.finished() if result.seed == seed}
            for variant in variants:
                if variant.name not in done:
                    self.run(variant, seed)

    def run(self, variant: Variant, seed: int) -> None:
        """Trains and scores one variant, and writes its line."""
        settings = replace(self._settings, seed=seed, **variant.fit)
        models = "-".join(digest[:8] for digest in self._models)
        directory = self._runs / f"{variant.name}-{settings.steps}-{seed}-{models}"
        # An adapter acts through hooks on the cloud model, so each run loads its own.
        cloud = load_cloud_model(self._cloud_path, self._dtype)
        config, shape = replace(PAPER, **variant.config), edge_shape(self._edge.model.config)
        if config.adapter_rank and self._prompt_encoder.adapter_rank:
            config = replace(config, adapter_rank=self._prompt_encoder.adapter_rank)
        torch.manual_seed(seed)
        generator = (
            DirectGenerator(config, cloud, shape, variant.direct)
            if variant.direct
            else LoraGenerator(config, cloud, shape)
        )
        if variant.warm and isinstance(generator, LoraGenerator):
            start_from_oracles(generator.bank, self._oracles(config))
        if config.adapter_rank:
            self._prompt_encoder.begin(generator.prompt_encoder)
        else:
            generator.prompt_encoder = self._prompt_encoder
        batches = EpisodeBatches(self._mixture, self._tokenizer, settings)
        tokens = self._read_ahead(batches)
        started = time.process_time()
        train_generator(generator, cloud, self._edge, batches, settings, directory)
        seconds = time.process_time() - started
        scores = self._validation.score(generator)
        result = Result(
            variant=variant.name,
            seed=seed,
            steps=settings.steps,
            models=self._models,
            parameters=sum(p.numel() for p in generator.parameters() if p.requires_grad),
            tokens=tokens,
            cpu_seconds=round(seconds, 1),
            **asdict(scores),
        )
        with (self._runs / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        shutil.rmtree(directory)

    def _oracles(self, config: GeneratorConfig) -> list[TaskFactors]:
        """One oracle for each expert, fitted to a task of a family that is drawn."""
        sizes = SuiteSizes(tasks=4 * config.experts, inputs=1)
        suites = load_suites(self._data, "validation", sizes, ("tools-seen", "tasks-seen"))
        known = [[task for task in suite.tasks if task.name.split("/")[0] in KINDS] for suite in suites]
        tasks = [task for pair in zip(*known, strict=False) for task in pair][: config.experts]
        settings = OracleSettings(config.rank, config.alpha)
        return fit_oracles(self._oracle_edge, self._models[1], tasks, settings, self._runs / "oracles")

    def _read_ahead(self, batches: EpisodeBatches) -> int:
        """Reads all prompts of a run beforehand, so that no variant is charged for them; returns the run's tokens."""
        count = 0
        for step in range(self._settings.steps):
            episodes, encoded = batches.draw(step)
            self._prompt_encoder(*pad_right(encoded))
            instances = [instance for episode in episodes for instance in episode.instances]
            count += sum(map(len, encoded)) + self._edge.chat.batch(instances, [None] * len(instances)).count
        return count


def _without_instructions(mixture: Mixture) -> Mixture:
    chosen = [pair for pair in zip(mixture.families, mixture.weights, strict=True) if pair[0].name in FAMILIES]
    return Mixture("ablation", [family for family, _ in chosen], [weight for _, weight in chosen])
