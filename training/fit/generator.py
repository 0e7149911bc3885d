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
from cloud_service.generator.answer_batch import answer_losses
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right
from cloud_service.generator.router import balance_term, gate
from cloud_service.task import TaskDescription, render_prompt
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, Mixture
from training.data.families import ToolShares, verify_weights
from training.fit.edge_answers import EdgeAnswers
from training.fit.loop import Run, Schedule, run_training
from training.fit.precision import product_dtype
from training.fit.processes import Processes

CONTRASTED = 2
"""Inputs of a task that are answered under a rival's description as well; all eight make a step 1.6 times as long."""


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
        families: How often each task family is drawn, by its name, tools among them; empty for the usual mixture.

    Raises:
        FamilyWeightError: A family is unknown, or its weight is not one.
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
    families: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        verify_weights(self.families)

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


class GeneratorStep:
    """What one step of a generator's training computes: draw tasks, read, route, answer, and sum the losses.

    Every process draws the whole step and does its own share of the tasks; only routing sees all of them, so that batch
    norm and the balance term are those of the whole step. Below, T is the tasks of a step, t those of this process, L
    the adapted layers, G the groups of modules and n the experts.

    Args:
        generator: On the device where it is trained.
        edge: The frozen edge model.
        batches: Where a step's episodes come from.
        settings: How the generator is trained.
        processes: Those that share the step.
    """

    def __init__(
        self,
        generator: LoraGenerator,
        edge: EdgeAnswers,
        batches: EpisodeBatches,
        settings: GeneratorSettings,
        processes: Processes,
    ) -> None:
        self._generator, self._edge, self._batches = generator, edge, batches
        self._settings, self._processes = settings, processes
        self._own = processes.share(settings.tasks)
        self._device = generator.prompt_encoder.meta.device
        self._mixed = settings.dtype_on(self._device) == torch.bfloat16
        self._is_topk = generator.config.gating == "topk_softmax"

    def __call__(self, step: int) -> tuple[Tensor, int]:
        """This process's share of the step's loss, and the tokens it took."""
        settings = self._settings
        # 1. Draw T tasks: the same in every process, from the step's number alone.
        drawn, prompts = self._batches.draw(step)
        episodes, encoded = drawn[self._own], prompts[self._own]
        systems = [self._residual_prompt(episode.task) for episode in episodes]
        count = sum(map(len, encoded))
        # 2. Read this process's descriptions, and route all of them: gates are (T, L, G, n).
        gates = self._route(self._read(encoded), step)
        own_gates, rivals = gates[self._own], choose_rivals(drawn)[self._own]
        # 3. Answer, in groups of inputs of like length; each task weighs 1 / T.
        loss = torch.zeros((), device=self._device)
        for group in grouped([self._longest(*each) for each in zip(episodes, systems, strict=True)]):
            asked = [(instance, systems[i]) for i in group for instance in episodes[i].instances]
            losses, tokens = self._answer(asked, own_gates[group])  # (len(group) * inputs,)
            loss, count = loss + len(group) / settings.tasks * losses.mean(), count + tokens
            # 4. Answer some of the inputs again, under the description of a rival task: that should be harder.
            contested = [place for place, i in enumerate(group) if rivals[i] is not None]
            if settings.contrast and contested:
                asked = [
                    (instance, systems[group[place]])
                    for place in contested
                    for instance in episodes[group[place]].instances[:CONTRASTED]
                ]
                mismatched, tokens = self._answer(asked, gates[[rivals[group[place]] for place in contested]])
                own = losses.unflatten(0, (len(group), -1))[contested, :CONTRASTED].flatten()
                share = settings.contrast * len(contested) / settings.tasks
                loss, count = loss - share * nn.functional.logsigmoid(mismatched - own).mean(), count + tokens
        # 5. Spread the gates over the experts. Every process has the whole term, so each adds its part.
        if self._is_topk and settings.balance_weight:
            loss = loss + settings.balance_weight * balance_term(gates) / self._processes.count
        return loss, count

    def _read(self, encoded: Sequence[list[int]]) -> Tensor:
        """Meta states of this process's prompts, (t, L, cloud hidden) float32; in groups of like length."""
        order, parts = [], []
        for group in grouped([len(ids) for ids in encoded]):
            ids, lengths = pad_right([encoded[i] for i in group], multiple=16)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
                parts.append(self._generator.prompt_encoder(ids.to(self._device), lengths.to(self._device)).float())
            order += group
        return torch.cat(parts)[torch.tensor(order).argsort()]

    def _route(self, states: Tensor, step: int) -> Tensor:
        """Gates of all tasks, (T, L, G, n), from this process's states, (t, L, cloud hidden)."""
        logits = self._generator.routers.logits(self._processes.gather(states))
        if self._is_topk and self._settings.gumbel:
            logits = logits + self._settings.gumbel * gumbel_noise(logits, f"{self._settings.seed}/{step}")
        return gate(self._generator.config, logits)

    def _longest(self, episode: Episode, system: str | None) -> int:
        """Tokens of the longest input of an episode with its answer."""
        chat = self._edge.chat
        return max(len(chat.question(i.input, system)) + len(chat.answer(i.output)) for i in episode.instances)

    def _residual_prompt(self, task: TaskDescription) -> str | None:
        return self._edge.chat.residual_prompt(task, self._generator.config.residual_prompt_tokens)

    def _answer(self, asked: Sequence[tuple[Instance, str | None]], gates: Tensor) -> tuple[Tensor, int]:
        """The loss of each answer, (instances,), and the tokens; each row of `gates` has equally many instances.

        `asked` has each instance with the residual prompt of its task.
        """
        batch = self._edge.chat.batch([i for i, _ in asked], [system for _, system in asked]).to(self._device)
        factors = self._generator.bank(gates)
        return answer_losses(self._edge.logits(batch, factors, self._settings.lora_dropout), batch), batch.count


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

    Returns:
        The losses of the steps that this call ran.

    Raises:
        ValueError: The tasks of a step cannot be split evenly over the processes, or `directory` holds a run that
            started from other weights or, by their digests in `origin`, over other frozen models.
    """
    processes = processes or Processes()
    step = GeneratorStep(generator, edge, batches, settings, processes)
    parameters = trained_parameters(generator, cloud, settings)
    # The cloud model has trained weights and moves slowly; meta vectors, routers and experts start from nothing.
    slow_names = ("cloud.", "generator.prompt_encoder.adapter")
    slow = [p for n, p in parameters.items() if n.startswith(slow_names)]
    fast = [p for n, p in parameters.items() if isinstance(p, nn.Parameter) and not n.startswith(slow_names)]
    groups = [{"params": fast, "lr": settings.learning_rate}, {"params": slow, "lr": settings.cloud_learning_rate}]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], betas=(0.9, 0.999), weight_decay=settings.weight_decay
    )
    cloud.train(settings.recompute)  # only in training mode does it recompute
    for module in cloud.modules():
        if isinstance(module, nn.Dropout):  # an encoder's: the routers are to read every prompt whole
            module.p = 0.0
    if settings.recompute:
        cloud.activation_checkpointing_enable()
    generator.train()
    run = Run(directory, "generator", settings.seed, Schedule(settings.steps, settings.warmup), origin=origin)
    losses = run_training(run, parameters, [optimizer], step, stop_after, processes)
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


def grouped(lengths: Sequence[int], parts: int = 6) -> list[list[int]]:
    """Indices in `parts` groups of like length, so that little is padded."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    size = -(-len(lengths) // parts)
    return [order[start : start + size] for start in range(0, len(lengths), size)]


def trained_parameters(
    generator: LoraGenerator, cloud: PreTrainedModel, settings: GeneratorSettings
) -> Mapping[str, Tensor]:
    """Every tensor that training moves, by name, batch norm's running statistics included.

    What no router gates is made by itself: `training.fit.call_experts`, `label_experts` and `choice_head`.
    The cloud model's head and last unused rows stay as they are.
    """
    parameters: dict[str, Tensor] = {f"generator.{name}": value for name, value in generator.named_parameters()}
    parameters |= {f"generator.{name}": value for name, value in generator.named_buffers() if value.is_floating_point()}
    apart = ("generator.calls.", "generator.labels.", "generator.choice.")
    parameters = {name: value for name, value in parameters.items() if not name.startswith(apart)}
    if settings.train_cloud:
        decoder = cloud.get_decoder().requires_grad_(True)
        parameters |= {f"cloud.{name}": value for name, value in decoder.named_parameters()}
    return parameters
