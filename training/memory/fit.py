"""Trains the memory: `python -m training.memory.fit --data DIR --out DIR [--set KEY=VALUE ...]` starts or resumes DIR.

DIR gets `settings.json`, `activations.safetensors` (what the warm start needs, collected first), `checkpoint/` and
`log.jsonl`, which holds a line for every step and every validation table.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.pretrained import load_cloud_model, load_language_model, load_tokenizer, resolve_model
from loragen.contract.digest import canonical_json, sha256_hex
from training.data.episodes import Family
from training.data.families import Sources
from training.fit.checkpoints import load_checkpoint, store_checkpoint
from training.memory.answers import Scored, make_batches, score
from training.memory.draws import StepDraw, draw_step
from training.memory.edge import SplitEdge
from training.memory.generator import Generator, GeneratorShape
from training.memory.mixture import load_memory_mixture
from training.memory.pieces import Piece
from training.memory.settings import MemorySettings, parse_settings
from training.memory.slots import PieceEncoder
from training.memory.validation import COLUMNS, SUITES, Validation, load_validation_tasks
from training.memory.warm import Activations, load_activations, start_warm

MEMORY_PARTS = ("to_key", "to_value", "key_of_state", "value_of_state", "latent_key", "latent_value")
RAW_PARTS = ("key_of_meaning", "value_of_spelling")
AVERAGED_STEPS = 4
LEAST_FACTOR = 0.05  # of the learning rate, at the last step
LARGEST_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Models:
    """The two frozen models of a run."""

    edge: PreTrainedModel
    edge_tokenizer: PreTrainedTokenizerBase
    encoder: PieceEncoder

    @classmethod
    def load(cls, settings: MemorySettings) -> "Models":
        """The models that the settings name."""
        edge, encoder = resolve_model(settings.edge), resolve_model(settings.encoder)
        tokenizer = load_tokenizer(edge)
        pieces = PieceEncoder(load_cloud_model(encoder, torch.float32), load_tokenizer(encoder), tokenizer)
        return cls(load_language_model(edge, torch.float32), tokenizer, pieces)

    def shape(self, settings: MemorySettings) -> GeneratorShape:
        """Sizes of a generator for these models."""
        config = self.edge.config
        return GeneratorShape(
            settings.first,
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            self.encoder.width,
            settings.rank,
            skills=settings.skills,
        )


class MemoryRun:
    """A run in its folder: generator, optimizer and running average of weights.

    Args:
        settings: How it goes.
        models: Frozen.
        source: What it learns from.
        out: The folder; a checkpoint there is resumed.
        activations: For the warm start; None for none.
        shape: Sizes of the generator; by default those that the models ask for.
    """

    def __init__(
        self,
        settings: MemorySettings,
        models: Models,
        source: Family,
        out: Path,
        activations: Activations | None = None,
        shape: GeneratorShape | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.models, self.out = settings, models, out
        self._source = source
        self.edge = SplitEdge(models.edge, settings.first)
        self.generator = Generator(shape or models.shape(settings), self.edge.embedding)
        if activations is not None:
            start_warm(self.generator, activations, models.edge.model.norm.weight, settings.warm)
        if settings.start:
            stored = load_file(Path(settings.start) / "parameters.safetensors")
            self.generator.load_state_dict({n: t for n, t in stored.items() if not n.startswith("average.")})
        groups = rate_groups(self.generator, settings)
        self._peaks = [rate for rate, _ in groups]
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "lr": rate} for rate, parameters in groups],
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
        )
        self.average = {name: value.detach().clone() for name, value in self.generator.named_parameters()}
        self._origin = _origin_digest(settings)
        self.step = load_checkpoint(out / "checkpoint", self._state(), [self.optimizer], self._origin)

    def store(self) -> None:
        """Writes the checkpoint."""
        store_checkpoint(self.out / "checkpoint", self.step, self._state(), [self.optimizer], self._origin)

    def draw(self, step: int) -> StepDraw:
        """What a step trains on; negative ones are never trained on."""
        return draw_step(self._source, self.models.edge_tokenizer, self.settings, step)

    def run_step(self) -> dict[str, object]:
        """One step; what the log says of it."""
        drawn = self.draw(self.step)
        # The generator runs once. Every batch of rows leaves its gradient at the leaves, so that the activations of one
        # batch are kept at a time, and the leaves hand the sum on.
        gates = self.generator(self.models.encoder.read(drawn.pieces))
        leaves = (gates[0].detach().requires_grad_(), gates[1].detach().requires_grad_())
        total, tokens = 0.0, 0
        families: dict[str, list[float]] = {}
        for batch in make_batches(drawn.rows, drawn.owners, self.settings.batch_tokens):
            states = self.edge.upper(self.edge.lower(batch.ids), self.generator.bank(leaves, batch.owner))
            scored = score(states, batch, self.edge.embedding)
            loss = self._loss(scored) / len(drawn.rows)
            loss.backward()
            total += loss.item()
            tokens += batch.ids.numel()
            for owner, value, hit in zip(batch.owner.tolist(), scored.loss.tolist(), scored.hit.tolist(), strict=True):
                sums = families.setdefault(drawn.episodes[owner].name.split("/")[0], [0, 0.0, 0])
                sums[:] = sums[0] + 1, sums[1] + value, sums[2] + hit
        torch.autograd.backward(gates, [leaf.grad for leaf in leaves])
        norm = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), LARGEST_NORM).item()
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self._factor()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        by_family = {name: [n, round(value / n, 3), hits] for name, (n, value, hits) in families.items()}
        return {"step": self.step, "loss": total, "norm": norm, "tokens": tokens, "families": by_family}

    def averaged(self) -> Generator:
        """A generator with the averaged weights."""
        generator = Generator(self.generator.shape, self.edge.embedding)
        generator.load_state_dict({**self.generator.state_dict(), **self.average})
        return generator.eval()

    def averaged_over(self) -> list[tuple[Piece, ...]]:
        """Descriptions of training over which the column `average` takes gates."""
        return [pieces for step in range(-AVERAGED_STEPS, 0) for pieces in self.draw(step).pieces]

    def _state(self) -> Mapping[str, Tensor]:
        return {**self.generator.state_dict(), **{f"average.{name}": value for name, value in self.average.items()}}

    def _loss(self, scored: Scored) -> Tensor:
        """Sum over rows: closed where the set is closed, with a share of the plain loss where it is scored too."""
        both = ~scored.closed.isnan() & ~scored.plain.isnan()
        weight = torch.where(both, self.settings.plain_weight, 1.0)
        return scored.closed.nansum() + (scored.plain.nan_to_num() * weight).sum()

    def _factor(self) -> float:
        s = self.settings
        if self.step < s.warmup:
            return (self.step + 1) / s.warmup
        progress = min(1.0, (self.step - s.warmup) / max(1, s.steps - s.warmup))
        return LEAST_FACTOR + (1 - LEAST_FACTOR) * 0.5 * (1 + math.cos(math.pi * progress))

    @torch.no_grad()
    def _follow(self) -> None:
        """The running average of weights follows; over the first steps it is their mean."""
        decay = min(self.settings.decay, 1 - 1 / (self.step + 1))
        for name, parameter in self.generator.named_parameters():
            self.average[name].lerp_(parameter, 1 - decay)


def _origin_digest(settings: MemorySettings) -> str:
    """sha256 of the settings that a resumed run must share with its beginning; how long it goes may change."""
    changeable = {"steps", "evaluate_every", "checkpoint_seconds"}
    return sha256_hex(canonical_json({k: v for k, v in asdict(settings).items() if k not in changeable}))


def rate_groups(generator: Generator, settings: MemorySettings) -> list[tuple[float, list[Tensor]]]:
    """Parameters by peak learning rate: the factors of the memory multiply each other, and move slowly."""
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in generator.named_parameters():
        head = name.split(".")[0]
        if name.startswith("bank.skill_b"):
            rate = settings.skill_rate
        elif name.startswith("bank.shared"):
            rate = settings.shared_rate
        elif head == "bank":
            rate = settings.bank_rate
        else:
            factor = settings.memory_factor if head in MEMORY_PARTS else settings.raw_factor if head in RAW_PARTS else 1
            rate = settings.rate * factor
        groups.setdefault(rate, []).append(parameter)
    return list(groups.items())


def main(argv: Sequence[str] | None = None) -> None:
    """Runs or resumes a run, and validates it."""
    parser = argparse.ArgumentParser(prog="python -m training.memory.fit")
    parser.add_argument("--data", type=Path, required=True, help="folder of packed public data (docs/training.md)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a second call resumes it")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="change a setting (settings.py)")
    parser.add_argument("--stop", type=int, help="leave after this step of the run")
    parser.add_argument("--suites", nargs="*", default=list(SUITES), help="of validation")
    parser.add_argument("--columns", nargs="*", default=list(COLUMNS), help="of validation")
    arguments = parser.parse_args(argv)
    settings = parse_settings(arguments.set)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    models, sources = Models.load(settings), Sources(arguments.data)
    activations = None
    if settings.warm and not settings.start:
        edge = SplitEdge(models.edge, settings.first)
        kept = out / "activations.safetensors"
        activations = load_activations(kept, sources, edge, models.edge_tokenizer, models.encoder)
    run = MemoryRun(settings, models, load_memory_mixture(sources), out, activations)
    (out / "settings.json").write_text(json.dumps(asdict(settings), indent=1) + "\n")
    validation = Validation(
        run.edge, models.edge_tokenizer, models.encoder, load_validation_tasks(arguments.data, arguments.suites)
    )
    last = min(settings.steps, settings.steps if arguments.stop is None else arguments.stop)
    with (out / "log.jsonl").open("a") as log:

        def write(line: Mapping[str, object]) -> None:
            print(json.dumps(line), file=log, flush=True)

        saved = time.monotonic()
        while run.step < last:
            begun = time.monotonic()
            record = run.run_step()
            write(record | {"seconds": round(time.monotonic() - begun, 1)})
            if run.step == last or time.monotonic() - saved > settings.checkpoint_seconds:
                run.store()
                saved = time.monotonic()
            if run.step == last or (settings.evaluate_every and run.step % settings.evaluate_every == 0):
                table = validation.table(run.averaged(), run.averaged_over(), arguments.columns)
                cells = {suite: {c: asdict(cell) for c, cell in row.items()} for suite, row in table.items()}
                write({"step": run.step, "validation": cells})


if __name__ == "__main__":
    main()
