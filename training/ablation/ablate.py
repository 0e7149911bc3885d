"""The paper's ablations on a trained pair, in equal short runs: `python -m training.ablation.ablate --data DIR`.

Each variant changes one thing of the paper's default, but `ours`, which has the gating of the nano pair. All train the
same number of steps, on the same tasks, over the same models, once for each seed; then each is scored on the same
validation episodes. Routers and experts start anew. The prompt encoder does not: what it was trained with, in the nano
pair `ours`, has an advantage.
The prompt encoder is the pair's own and frozen, so that the states of a prompt are computed once for all variants, and
by none of them; what that costs is the last row, where the cloud model's LoRA on q and v is trained, as in the paper:
the pair's own or a new one.

A finished run is one line of `results.jsonl` under `--runs`, so that a second call goes on where the first was ended,
inside a run too. Every call prints the table of what is finished, with t intervals over seeds. Runs over other models
are kept apart; those on other data or of another version of this code belong into another folder.
"""

import argparse
import json
import math
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from cloud_service.generator import GeneratorConfig, LoraGenerator
from cloud_service.generator.checkpoint import ROUTER_FILE, load_parameters, read_manifest, verify_model
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.inference import load_cloud_model, load_language_model
from cloud_service.generator.prompt_encoder import PromptEncoder, pad_right
from loragen.contract.digest import model_digest
from training.ablation.direct import DirectGenerator
from training.data.episodes import Mixture
from training.data.families import load_mixture
from training.evaluation.answering import EdgeModel
from training.evaluation.served import PairPaths
from training.evaluation.suites import SuiteSizes, load_suites
from training.evaluation.validation import LONGEST_ANSWER, ValidationSet
from training.fit.generator import EdgeAnswers, EpisodeBatches, GeneratorSettings, train_generator
from training.fit.oracle import OracleSettings, TaskFactors, fit_oracles

FAMILIES = ("tools", "classify", "extract", "transform")
"""Published instructions are left out: their long prompts and answers take most of a step."""

KINDS = ("route", "classify", "extract", "transform")
"""The same families, as suites call them."""

PAPER = GeneratorConfig(id="ablation", rank=8, alpha=8.0, adapter_rank=0, max_prompt_tokens=320)
"""The paper's default at the rank of the nano pair: 8 experts, top 2, one gate a layer, batch norm."""

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

T_QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""By number of seeds: the 97.5 % quantile of Student's t with one degree of freedom less."""

HEAD = (
    "variant",
    "parameters",
    "right",
    "less the default's",
    "another's - right",
    "gibberish - right",
    "exact match %",
    "CPU s",
)


@dataclass(frozen=True, slots=True)
class Variant:
    """What one row of the table changes.

    Attributes:
        name: In the table and on the command line.
        config: Fields of `GeneratorConfig` that differ from the paper's default.
        fit: Fields of `GeneratorSettings` that differ.
        direct: Hidden units of direct generation; 0: a bank of experts.
        warm: Experts start as oracles of tasks from training.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    direct: int = 0
    warm: bool = False


DEFAULT = "paper"
VARIANTS = (
    Variant(DEFAULT),
    Variant("n=4", {"experts": 4}),
    Variant("n=12", {"experts": 12}),
    Variant("K=1", {"top_k": 1}),
    Variant("K=4", {"top_k": 4}),
    Variant("balance=0", fit={"balance_weight": 0.0}),
    Variant("balance=0.005", fit={"balance_weight": 0.005}),
    Variant("balance=0.1", fit={"balance_weight": 0.1}),
    Variant("gumbel", fit={"gumbel": 1.0}),
    Variant("contrast", fit={"contrast": 0.5}),
    Variant("oracles", warm=True),
    Variant("direct", direct=10),  # as many parameters as the default
    Variant("mix=deltas", {"mix": "deltas"}),
    Variant("norm=layer", {"norm": "layer"}),
    Variant("norm=none", {"norm": "none"}),
    Variant("dense", {"gating": "dense"}),
    Variant("ours", {"gating": "dense", "experts": 96, "groups": 3, "norm": "layer"}),
    Variant("adapter", {"adapter_rank": 8}),
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


class RememberingPromptEncoder(nn.Module):
    """A frozen prompt encoder that reads each prompt once, and alone."""

    def __init__(self, prompt_encoder: PromptEncoder) -> None:
        super().__init__()
        self._prompt_encoder = [
            prompt_encoder.requires_grad_(False).eval()
        ]  # in a list: its parameters are not trained or counted
        self.meta = prompt_encoder.meta
        self.adapter_rank = (
            0 if prompt_encoder.adapter is None else next(iter(prompt_encoder.adapter.a.values())).shape[0]
        )
        self._known: dict[tuple[int, ...], Tensor] = {}

    def begin(self, prompt_encoder: PromptEncoder) -> None:
        """Lets another one, of the same cloud model, start from this one; an adapter that this one lacks stays."""
        prompt_encoder.load_state_dict(self._prompt_encoder[0].state_dict(), strict=False)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """As `CloudReader` has it."""
        keys = [tuple(row[:length].tolist()) for row, length in zip(ids, lengths, strict=True)]
        for key in keys:
            if key not in self._known:
                with torch.no_grad():
                    self._known[key] = self._prompt_encoder[0](*pad_right([key]))[0].float()
        return torch.stack([self._known[key] for key in keys])


def load_prompt_encoder(pair: PairPaths, dtype: torch.dtype) -> PromptEncoder:
    """The prompt encoder of a trained pair, with its cloud model.

    Raises:
        CheckpointError: The generator is altered, or belongs to another cloud model.
    """
    manifest = read_manifest(pair.generator)
    verify_model("cloud", manifest.cloud_model, pair.cloud)
    cloud = load_cloud_model(pair.cloud, dtype)
    shape = edge_shape(AutoConfig.from_pretrained(pair.edge))
    generator = LoraGenerator(manifest.config, cloud, shape)
    load_parameters(pair.generator, generator)
    return generator.prompt_encoder


class Ablation:
    """Runs variants over one pair of frozen models.

    Args:
        pair: Where the models and the generator lie.
        data: Packed public data.
        runs: Where results and unfinished runs are kept.
        settings: Of every run, the seed and what a variant changes aside.
        episodes: Validation episodes.
    """

    def __init__(self, pair: PairPaths, data: Path, runs: Path, settings: GeneratorSettings, episodes: int) -> None:
        self._cloud_path, self._runs, self._settings = pair.cloud, runs, settings
        self._models = [
            model_digest(pair.cloud),
            model_digest(pair.edge),
            read_manifest(pair.generator).files[ROUTER_FILE],
        ]
        self._mixture = _without_instructions(load_mixture(data, settings.tools))
        self._dtype = settings.dtype_on(torch.device("cpu"))
        self._prompt_encoder: Any = RememberingPromptEncoder(load_prompt_encoder(pair, self._dtype))
        self._tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(pair.cloud)
        tokenizer = AutoTokenizer.from_pretrained(pair.edge)
        edge = load_language_model(pair.edge, self._dtype)
        self._edge = EdgeAnswers(edge, tokenizer, settings.longest_turn, self._dtype)
        self._data, self._writer = data, EdgeModel(edge, tokenizer, settings.longest_turn + LONGEST_ANSWER)
        drawn = EpisodeBatches(self._mixture, self._tokenizer, replace(settings, tasks=episodes, seed=0))
        self._validation = ValidationSet(drawn.draw(0, "validation")[0], self._tokenizer, self._edge, self._writer)

    def finished(self) -> list[Result]:
        """The runs of so many steps over these models that are on disk."""
        path = self._runs / "results.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        results = [Result(**json.loads(line)) for line in lines]
        return [r for r in results if r.steps == self._settings.steps and r.models == self._models]

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
        sizes = SuiteSizes(tasks=4 * config.experts, samples=1, inputs=1)
        suites = load_suites(self._data, "validation", sizes, ("tools-seen", "tasks-seen"))
        known = [[task for task in suite.tasks if task.name.split("/")[0] in KINDS] for suite in suites]
        tasks = [task for pair in zip(*known, strict=False) for task in pair][: config.experts]
        settings = OracleSettings(config.rank, config.alpha)
        return fit_oracles(self._writer, self._models[1], tasks, settings, self._runs / "oracles")

    def _read_ahead(self, batches: EpisodeBatches) -> int:
        """Read a run's prompts, or whichever variant comes first would pay for all; returns the run's tokens."""
        count = 0
        for step in range(self._settings.steps):
            episodes, encoded = batches.draw(step)
            self._prompt_encoder(*pad_right(encoded))
            instances = [instance for episode in episodes for instance in episode.instances]
            count += sum(map(len, encoded)) + self._edge.turns.batch(instances, [None] * len(instances)).count
        return count


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is not finished, seed by seed, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m training.ablation.ablate", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of packed public data (docs/training.md)")
    parser.add_argument(
        "--pair", type=Path, default=Path("models/nano"), help="folder with generator/, edge/, and cloud/ if it has one"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/ablations"), help="results; a second call runs what is missing"
    )
    parser.add_argument("--only", nargs="+", choices=[v.name for v in VARIANTS], metavar="NAME", help="these variants")
    parser.add_argument("--steps", type=int, default=SETTINGS.steps)
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(T_QUANTILES))
    parser.add_argument("--episodes", type=int, default=48, help="of validation")
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, and leave")
    arguments = parser.parse_args(argv)
    settings = replace(SETTINGS, steps=arguments.steps)
    ablation = Ablation(PairPaths.of(arguments.pair), arguments.data, arguments.runs, settings, arguments.episodes)
    chosen = [v for v in VARIANTS if arguments.only is None or v.name in arguments.only]
    if not arguments.table:
        for seed in range(1, arguments.seeds + 1):
            done = {result.variant for result in ablation.finished() if result.seed == seed}
            for variant in chosen:
                if variant.name not in done:
                    ablation.run(variant, seed)
    print(table(ablation.finished()))


def table(results: Sequence[Result]) -> str:
    """Mean and 95 % t interval over seeds for each variant, and its difference to the default on the same seeds."""
    default = {r.seed: r.cross_entropy["right"] for r in results if r.variant == DEFAULT}
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for variant in VARIANTS:
        own = [r for r in results if r.variant == variant.name]
        if not own:
            continue
        losses = [r.cross_entropy for r in own]
        paired = [r.cross_entropy["right"] - default[r.seed] for r in own if r.seed in default]
        columns = (
            variant.name,
            f"{own[0].parameters / 1e6:.2f} M",
            _spelled([loss["right"] for loss in losses]),
            "" if variant.name == DEFAULT else _spelled(paired, "+.3f"),
            _spelled([loss["another"] - loss["right"] for loss in losses]),
            _spelled([loss["gibberish"] - loss["right"] for loss in losses]),
            _spelled([100 * r.exact_match for r in own], ".1f"),
            f"{sum(r.cpu_seconds for r in own) / len(own):.0f}",
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _spelled(values: Sequence[float], form: str = ".3f") -> str:
    """Mean ± half the 95 % t interval; without the latter for a single value."""
    if not values:
        return ""
    mean = sum(values) / len(values)
    if len(values) not in T_QUANTILES:
        return f"{mean:{form}}"
    spread = T_QUANTILES[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:{form}} ± {spread:{form.removeprefix('+')}}"


def _without_instructions(mixture: Mixture) -> Mixture:
    chosen = [pair for pair in zip(mixture.families, mixture.weights, strict=True) if pair[0].name in FAMILIES]
    return Mixture("ablation", [family for family, _ in chosen], [weight for _, weight in chosen])


if __name__ == "__main__":
    main()
