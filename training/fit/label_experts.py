"""Trains the label experts: the part of a bank that reads what is asked, for the choice head.

The choice head alone knows what an input is about, and not what a task wants to know of it: an author's mood, a part of
a contract, an answer to a question. These experts act in the layers below the head, read the question in the residual
prompt, and move what the head reads towards the meaning of the right label. The head stays as it is.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cloud_service.answer.choices import describe_choices
from cloud_service.generator.choice_head import ChoiceHead
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.last_layer import LastLayer
from cloud_service.generator.meanings import SentenceEncoder
from cloud_service.generator.prompt_encoder import pad_right
from training.data.corpus import Split
from training.data.episodes import Episode, Family
from training.data.families import verify_weights
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import grouped
from training.fit.processes import Processes

FAMILY_WEIGHTS: Mapping[str, float] = {"label_tasks": 0.66, "questions": 0.14, "classify": 0.1, "yes_no": 0.1}


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How label experts are trained.

    Attributes:
        sets: Closed sets in one step.
        inputs: Inputs of each set.
        temperature: By which the head's scores are divided before the softmax; they spread over hundreds.
        longest_question: Tokens of a residual prompt with an input; a longer one loses its beginning.
        families: How often each family of closed sets is drawn, by its name.

    Raises:
        FamilyWeightError: A family is unknown, or its weight is not one.
    """

    steps: int = 300
    sets: int = 12
    inputs: int = 2
    learning_rate: float = 2e-3
    warmup: int = 15
    weight_decay: float = 0.01
    temperature: float = 150.0
    longest_question: int = 320
    seed: int = 0
    families: Mapping[str, float] = field(default_factory=lambda: dict(FAMILY_WEIGHTS))

    def __post_init__(self) -> None:
        verify_weights(self.families)


class LabelStep:
    """What one step computes: cross entropy among the labels of each set, by the choice head's scores.

    Args:
        experts: The label experts.
        head: The fitted choice head, in the last layer alone.
        edge: The frozen edge model.
        layer: Its last layer, which the head reads.
        sentences: Says what labels mean.
        family: Draws episodes with labels.
        settings: How.
        residual_prompt_tokens: Longest residual prompt; an episode that has none is drawn again, as it is served so.
        processes: Those that share the step.
    """

    def __init__(
        self,
        experts: ExpertBank,
        head: ChoiceHead,
        edge: EdgeAnswers,
        layer: LastLayer,
        sentences: SentenceEncoder,
        family: Family,
        settings: LabelSettings,
        residual_prompt_tokens: int,
        processes: Processes,
    ) -> None:
        self._experts, self._head, self._edge, self._layer = experts, head, edge, layer
        self._sentences, self._family, self._settings = sentences, family, settings
        self._residual_prompt_tokens, self._processes = residual_prompt_tokens, processes
        self._device = edge.model.device

    def __call__(self, step: int) -> tuple[Tensor, int]:
        """This process's share of the step's loss, and the tokens it took."""
        drawn = self.draw(step)
        episodes = drawn[self._processes.share(len(drawn))]
        scores, count = self.scores(episodes)
        loss = torch.zeros((), device=self._device)
        for episode, each in zip(episodes, scores, strict=True):
            right = torch.tensor([episode.labels.index(i.output) for i in episode.instances], device=self._device)
            loss = loss + nn.functional.cross_entropy(each / self._settings.temperature, right) / len(drawn)
        return loss, count

    def draw(self, step: int, split: Split = "train") -> list[Episode]:
        """Episodes of a step, drawn from its number alone."""
        rng = random.Random(f"labels/{split}/{self._settings.seed}/{step}")
        drawn: list[Episode] = []
        while len(drawn) < self._settings.sets:
            episode = self._family.draw(rng, split, self._settings.inputs)
            if self._residual_prompt(episode) and len(episode.labels) <= self._head.b.shape[-1]:
                drawn.append(episode)
        return drawn

    def scores(self, episodes: Sequence[Episode], *, with_experts: bool = True) -> tuple[list[Tensor], int]:
        """Scores of the labels for each episode, (inputs, labels), as the head gives them, and the tokens it took."""
        sets = [describe_choices(episode.task, episode.labels) for episode in episodes]
        with torch.no_grad():
            keys = self._head(self._sentences.read(sets).to(self._device))[:, 0]  # (episodes, longest, rank)
        encoded = [self._questions(episode) for episode in episodes]
        factors = self._experts(self._experts.whole_gates) if with_experts else None
        read: dict[int, Tensor] = {}
        for group in grouped([max(map(len, questions)) for questions in encoded], parts=4):
            ids, lengths = pad_right([question for i in group for question in encoded[i]], multiple=8)
            with self._layer.observed() as seen:
                self._edge.states(ids.to(self._device), factors)
            last = seen[0][torch.arange(len(ids)), lengths - 1].float() @ self._head.a[0].detach().T  # (rows, rank)
            read |= dict(zip(group, last.split([len(encoded[i]) for i in group]), strict=True))
        scores = [read[i] @ keys[i, : len(episode.labels)].T for i, episode in enumerate(episodes)]
        return scores, sum(len(question) for questions in encoded for question in questions)

    def _questions(self, episode: Episode) -> list[list[int]]:
        system, chat = self._residual_prompt(episode), self._edge.chat
        return [chat.question(i.input, system)[-self._settings.longest_question :] for i in episode.instances]

    def _residual_prompt(self, episode: Episode) -> str | None:
        return self._edge.chat.residual_prompt(episode.task, self._residual_prompt_tokens, has_codes=True)
