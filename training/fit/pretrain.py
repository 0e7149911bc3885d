"""Base training of one nano language model on prose and prompted tasks, in packed rows without padding.

Prompted tasks are conversations with a system prompt and several turns, so that **prompted** is a real competitor; one
in ten has no system prompt, routing never. Answers weigh 1 in the loss, all other tokens `CONTEXT_WEIGHT`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cloud_service.task import render_prompt
from training.data.corpus import read_paragraphs
from training.data.episodes import Mixture
from training.fit.loop import Run, Schedule, run_training
from training.fit.precision import product_dtype
from training.fit.processes import Processes

CONTEXT_WEIGHT = 0.3
PROSE_SHARE = 0.12
WITHOUT_PROMPT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class LanguageModelSize:
    """Shape of a Llama-architecture model."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """How long and how fast; one step is `rows * length` tokens."""

    steps: int
    rows: int = 20
    length: int = 384
    learning_rate: float = 2e-3
    warmup: int = 60
    seed: int = 0


class PackedRows:
    """Rows of token ids with loss weights, drawn for a step from that step's number alone."""

    def __init__(
        self, mixture: Mixture, paragraphs: list[str], tokenizer: PreTrainedTokenizerFast, settings: PretrainSettings
    ) -> None:
        self._mixture, self._paragraphs, self._tokenizer, self._settings = mixture, paragraphs, tokenizer, settings
        self._bos, self._end = tokenizer.convert_tokens_to_ids(["<|bos|>", "<|end|>"])
        roles = ("system", "user", "assistant")
        self._roles = {role: tokenizer.convert_tokens_to_ids(f"<|{role}|>") for role in roles}

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Ids and weights of one step, each (rows, length + 1)."""
        rng = random.Random(f"pretrain/{self._settings.seed}/{step}")
        needed = self._settings.rows * (self._settings.length + 1)
        ids: list[int] = []
        weights: list[float] = []
        while len(ids) < needed:
            for piece, weight in self._document(rng):
                ids += piece
                weights += [weight] * len(piece)
        shape = (self._settings.rows, self._settings.length + 1)
        return torch.tensor(ids[:needed]).view(shape), torch.tensor(weights[:needed]).view(shape)

    def _document(self, rng: random.Random) -> Iterator[tuple[list[int], float]]:
        if rng.random() < PROSE_SHARE:
            yield [self._bos, *self._encode(rng.choice(self._paragraphs)), self._end], CONTEXT_WEIGHT
            return
        episode = self._mixture.draw(rng, "train", rng.randint(1, 6))
        # Without its list of tools, routing would teach one name for each request.
        if rng.random() < WITHOUT_PROMPT_SHARE and not episode.name.startswith("tools"):
            for instance in episode.instances:
                yield [self._bos], CONTEXT_WEIGHT
                yield from self._turn(instance.input, instance.output)
            return
        prompt = self._encode(render_prompt(episode.task))
        yield [self._bos, self._roles["system"], *prompt], CONTEXT_WEIGHT
        for instance in episode.instances:
            yield from self._turn(instance.input, instance.output)

    def _turn(self, question: str, answer: str) -> Iterator[tuple[list[int], float]]:
        yield [self._roles["user"], *self._encode(question), self._roles["assistant"]], CONTEXT_WEIGHT
        yield [*self._encode(answer), self._end], 1.0

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


def new_language_model(size: LanguageModelSize, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model with random weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            intermediate_size=size.intermediate,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.key_value_heads,
            max_position_embeddings=1024,
            rope_theta=10000.0,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def grow_model(model: LlamaForCausalLM, order: list[int]) -> LlamaForCausalLM:
    """A deeper model whose layer i starts as layer `order[i]` of the given one (depth stacking, arXiv 2405.15319)."""
    config = LlamaConfig(**{**model.config.to_dict(), "num_hidden_layers": len(order)})
    grown = LlamaForCausalLM(config)
    state = {name: value for name, value in model.state_dict().items() if ".layers." not in name}
    for target, source in enumerate(order):
        for name, value in model.model.layers[source].state_dict().items():
            state[f"model.layers.{target}.{name}"] = value
    grown.load_state_dict(state)
    return grown


def make_optimizers(model: nn.Module, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def pretrain(
    model: LlamaForCausalLM,
    rows: PackedRows,
    settings: PretrainSettings,
    directory: Path,
    title: str,
    compiled: bool = True,
    processes: Processes | None = None,
) -> list[float]:
    """Trains the model in place, on the device it is on.

    Returns:
        The losses of the steps that this call ran.

    Raises:
        ValueError: The rows of a step cannot be split evenly over the processes.
    """
    processes = processes or Processes()
    device = next(model.parameters()).device
    mixed = product_dtype(device) == torch.bfloat16

    def weighted_loss(ids: Tensor, weights: Tensor, total: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        losses = nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return (losses * weights[:, 1:].flatten()).sum() / total

    step_loss = torch.compile(weighted_loss) if compiled else weighted_loss

    def compute_loss(step: int) -> tuple[Tensor, int]:
        ids, weights = rows.draw(step)
        own, total = processes.share(len(ids)), weights[:, 1:].sum()
        return step_loss(ids[own].to(device), weights[own].to(device), total.to(device)), ids[own].numel()

    model.train()
    run = Run(directory, title, settings.seed, Schedule(settings.steps, settings.warmup))
    optimizers = make_optimizers(model, settings.learning_rate)
    return run_training(run, dict(model.named_parameters()), optimizers, compute_loss, processes=processes)


def sample_paragraphs(data: Path, count: int, seed: int) -> list[str]:
    """Prose for base training: three quarters from books, the rest from textbooks."""
    rng = random.Random(f"prose/{seed}")
    chosen: list[str] = []
    for name, wanted in (("gutenberg.txt.zst", count * 3 // 4), ("openstax_ccby.txt.zst", count // 4)):
        sampled: list[str] = []
        for index, paragraph in enumerate(read_paragraphs(data / "text" / name)):
            if index >= wanted * 8:
                break
            if len(sampled) < wanted:
                sampled.append(paragraph[:1500])
            elif (place := rng.randrange(index + 1)) < wanted:
                sampled[place] = paragraph[:1500]
        chosen += sampled
    return chosen
