"""Training of a generator: read descriptions, mix experts, answer inputs without the description.

For each task, the cloud model reads the description once, and the edge model answers several inputs under the un-merged
LoRA. Only answer tokens carry the loss, each answer with equal weight. The edge model is frozen, and none of its
gradients are computed.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator import LoraGenerator
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right
from cloud_service.generator.router import balance_term, gate
from cloud_service.task import render_prompt
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, Mixture
from training.data.families import ToolShares
from training.fit.answer_loss import EdgeAnswers, answer_losses
from training.fit.loop import Run, Schedule, run_training
from training.fit.precision import product_dtype
from training.fit.processes import Processes

CONTRASTED = 2
"""Inputs of a description that are answered under another's as well; all eight make a step 1.6 times as long."""


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """How a generator is trained.

    Attributes:
        tasks: Descriptions in one step, over all processes.
        inputs: Inputs of each description.
        learning_rate: Peak for the parts trained from scratch: meta vectors, routers, experts.
        cloud_learning_rate: Peak for the cloud model or its adapter.
        train_cloud: Train the cloud model itself; else only its adapter.
        balance_weight: Weight of the balance term, for `topk_softmax`.
        gumbel: Scale of the Gumbel noise on the routers' outputs, for `topk_softmax`; the paper tried it and left it.
        contrast: Weight of a term that wants an answer of a closed set likelier under its own description than under
            another of the step and of the same family: -log sigmoid of the difference of their losses.
        longest_prompt: Descriptions with more cloud tokens are drawn again.
        longest_turn: Tokens of input and answer.
        lora_dropout: Share of the inputs of the experts' A that a training step leaves out.
        recompute: Compute the cloud model's activations twice rather than keep them: less memory, more time.
        precision: Of both models while training, where the device has it; trained tensors are float32 always.
        tools: How often which kind of tool set is drawn.
    """

    steps: int
    tasks: int = 8
    inputs: int = 12
    learning_rate: float = 1e-3
    cloud_learning_rate: float = 3e-4
    train_cloud: bool = False
    balance_weight: float = 0.01
    gumbel: float = 0.0
    contrast: float = 0.0
    warmup: int = 50
    weight_decay: float = 0.1
    longest_prompt: int = 320
    longest_turn: int = 160
    lora_dropout: float = 0.0
    recompute: bool = False
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    seed: int = 0
    tools: ToolShares = field(default_factory=ToolShares)

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """`precision`, for torch; float32 where the device has no instructions for bfloat16."""
        return product_dtype(device) if self.precision == "bfloat16" else torch.float32


class EpisodeBatches:
    """Episodes of a step, drawn from the step's number alone, with prompts that fit."""

    def __init__(self, mixture: Mixture, tokenizer: PreTrainedTokenizerBase, settings: GeneratorSettings) -> None:
        self._mixture, self._tokenizer, self._settings = mixture, tokenizer, settings

    def draw(self, step: int, split: Split = "train") -> tuple[list[Episode], list[list[int]]]:
        """Episodes, and the cloud tokens of their prompts."""
        rng = random.Random(f"generator/{split}/{self._settings.seed}/{step}")
        episodes: list[Episode] = []
        encoded: list[list[int]] = []
        while len(episodes) < self._settings.tasks:
            episode = self._mixture.draw(rng, split, self._settings.inputs)
            ids = encode_prompts(self._tokenizer, [render_prompt(episode.task)])[0]
            if len(ids) <= self._settings.longest_prompt:
                episodes.append(episode)
                encoded.append(ids)
        return episodes, encoded


def train_generator(
    generator: LoraGenerator,
    cloud: PreTrainedModel,
    edge: EdgeAnswers,
    batches: EpisodeBatches,
    settings: GeneratorSettings,
    directory: Path,
    stop_after: int | None = None,
    processes: Processes | None = None,
    origin: str = "",
) -> list[float]:
    """Trains a generator in place, and the cloud model with it when the settings say so; on the device they are on.

    Tasks are split over processes. Routers see every task of a step in every process, so that batch norm and the
    balance term are those of the whole step.

    Returns:
        The losses of the steps that this call ran.

    Raises:
        ValueError: The tasks of a step cannot be split evenly over the processes, or `directory` holds a run that
            started from other weights or, by their digests in `origin`, over other frozen models.
    """
    processes = processes or Processes()
    device, own = generator.prompt_encoder.meta.device, processes.share(settings.tasks)
    mixed = settings.dtype_on(device) == torch.bfloat16
    parameters = trained_parameters(generator, cloud, settings)
    slow = [p for n, p in parameters.items() if n.startswith(("cloud.", "generator.prompt_encoder.adapter"))]
    slow_ids = {id(p) for p in slow}
    fast = [p for p in parameters.values() if isinstance(p, nn.Parameter) and id(p) not in slow_ids]
    groups = [
        {"params": fast, "lr": settings.learning_rate},
        {"params": slow, "lr": settings.cloud_learning_rate},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], betas=(0.9, 0.999), weight_decay=settings.weight_decay
    )
    cloud.train(settings.recompute)  # only in training mode does it recompute
    for module in cloud.modules():
        if isinstance(module, nn.Dropout):  # an encoder's; what a prompt says to the routers is not left to chance
            module.p = 0.0
    generator.train()

    if settings.recompute:
        cloud.activation_checkpointing_enable()

    def answer(instances: Sequence[Instance], gates: Tensor) -> tuple[Tensor, int]:
        batch = edge.chat.batch(instances, [None] * len(instances)).to(device)
        return answer_losses(edge.logits(batch, generator.bank(gates), settings.lora_dropout), batch), batch.count

    def compute_loss(step: int) -> tuple[Tensor, int]:
        drawn, prompts = batches.draw(step)
        episodes, encoded = drawn[own], prompts[own]
        count = sum(map(len, encoded))
        order, parts = [], []
        for group in grouped(len(episodes), [len(ids) for ids in encoded]):
            ids, lengths = pad_right([encoded[i] for i in group], multiple=16)
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                parts.append(generator.prompt_encoder(ids.to(device), lengths.to(device)).float())
            order += group
        states = torch.cat(parts)[torch.tensor(order).argsort()]
        logits = generator.routers.logits(processes.gather(states))
        if generator.config.gating == "topk_softmax" and settings.gumbel:
            logits = logits + settings.gumbel * gumbel_noise(logits, f"{settings.seed}/{step}")
        gates = gate(generator.config, logits)
        own_gates, rivals = gates[own], choose_rivals(drawn)[own]
        loss = torch.zeros((), device=device)
        for group in grouped(len(episodes), [max(len(i.input) + len(i.output) for i in e.instances) for e in episodes]):
            losses, tokens = answer([each for i in group for each in episodes[i].instances], own_gates[group])
            loss, count = loss + len(group) / settings.tasks * losses.mean(), count + tokens
            contested = [place for place, i in enumerate(group) if rivals[i] is not None]
            if settings.contrast and contested:
                instances = [each for place in contested for each in episodes[group[place]].instances[:CONTRASTED]]
                others, tokens = answer(instances, gates[[rivals[group[place]] for place in contested]])
                lead = others - losses.unflatten(0, (len(group), -1))[contested, :CONTRASTED].flatten()
                share = settings.contrast * len(contested) / settings.tasks
                loss, count = loss - share * nn.functional.logsigmoid(lead).mean(), count + tokens
        if generator.config.gating == "topk_softmax" and settings.balance_weight:
            loss = loss + settings.balance_weight * balance_term(gates) / processes.count
        return loss, count

    run = Run(directory, "generator", settings.seed, Schedule(settings.steps, settings.warmup), origin=origin)
    losses = run_training(run, parameters, [optimizer], compute_loss, stop_after, processes)
    generator.eval()
    cloud.eval()
    return losses


def choose_rivals(episodes: Sequence[Episode]) -> list[int | None]:
    """For each episode with a closed set of answers the next one of its family, around the end; else None."""
    families = [episode.name.split("/")[0] if episode.labels else None for episode in episodes]
    others = [[*range(i + 1, len(families)), *range(i)] for i in range(len(families))]
    return [
        None if family is None else next((other for other in others[i] if families[other] == family), None)
        for i, family in enumerate(families)
    ]


def gumbel_noise(like: Tensor, seed: str) -> Tensor:
    """Standard Gumbel noise of a tensor's shape, the same in every process: -log(-log(u)), u uniform."""
    draw = torch.Generator().manual_seed(random.Random(f"gumbel/{seed}").getrandbits(63))
    uniform = torch.rand(like.shape, generator=draw).clamp(min=1e-9, max=1 - 1e-6)
    return -(-uniform.log()).log().to(like.device)


def grouped(count: int, lengths: list[int], parts: int = 4) -> list[list[int]]:
    """Indices in `parts` groups of like length, so that little is padded."""
    order = sorted(range(count), key=lengths.__getitem__)
    size = -(-count // parts)
    return [order[start : start + size] for start in range(0, count, size)]


def trained_parameters(
    generator: LoraGenerator, cloud: PreTrainedModel, settings: GeneratorSettings
) -> Mapping[str, Tensor]:
    """Every tensor that training moves, by name, batch norm's running statistics included.

    The cloud model's head and last unused rows stay as they are.
    """
    parameters: dict[str, Tensor] = {f"generator.{name}": value for name, value in generator.named_parameters()}
    parameters |= {f"generator.{name}": value for name, value in generator.named_buffers() if value.is_floating_point()}
    if settings.train_cloud:
        decoder = cloud.get_decoder().requires_grad_(True)
        parameters |= {f"cloud.{name}": value for name, value in decoder.named_parameters()}
    return parameters
