"""Quick scores of a generator on validation episodes that are drawn once: they compare two settings within seconds.

Suites, intervals over tasks and the way through the services are left to `training.evaluation.evaluate`.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cloud_service.generator import LoraGenerator
from cloud_service.generator.answer_batch import answer_loss
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right
from cloud_service.task import TaskDescription, render_prompt
from training.data.episodes import Episode
from training.data.gibberish import gibberish
from training.evaluation.edge_writer import EdgeWriter
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import grouped

LONGEST_ANSWER = 24
GROUP = 6  # descriptions, or tasks, at once


@dataclass(frozen=True, slots=True)
class Scores:
    """What a generator reaches.

    Attributes:
        cross_entropy: Of the answers, in nats a token, under `right`, `mismatched` and `gibberish` descriptions.
        exact_match: Share of greedy answers under the right description that are the expected ones.
    """

    cross_entropy: Mapping[str, float]
    exact_match: float


class ValidationSet:
    """Episodes with their own descriptions, with mismatched ones of the same family, and with gibberish.

    Args:
        episodes: At least two.
        cloud_tokenizer: Of the model that reads.
        edge: Gives the likelihood of answers.
        writer: The same model, writing them.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        cloud_tokenizer: PreTrainedTokenizerBase,
        edge: EdgeAnswers,
        writer: EdgeWriter,
    ) -> None:
        self._episodes, self._tokenizer = episodes, cloud_tokenizer
        self._edge, self._writer = edge, writer
        rng = random.Random("gibberish/validation")
        self.descriptions: Mapping[str, Sequence[TaskDescription]] = {
            "right": [episode.task for episode in episodes],
            "mismatched": [_mismatched(episodes, number).task for number in range(len(episodes))],
            "gibberish": [gibberish(rng, len(render_prompt(episode.task))) for episode in episodes],
        }

    def score(self, generator: LoraGenerator) -> Scores:
        """Scores a generator in evaluation mode."""
        losses: dict[str, float] = {}
        exact = 0
        with torch.inference_mode():
            for kind, descriptions in self.descriptions.items():
                gates = self._gates(generator, descriptions)
                longest = generator.config.residual_prompt_tokens
                kept = [self._edge.chat.residual_prompt(task, longest) for task in descriptions]
                losses[kind] = 0.0
                for group in _groups([episode.longest_text for episode in self._episodes]):
                    instances = [instance for i in group for instance in self._episodes[i].instances]
                    systems = [kept[i] for i in group for _ in self._episodes[i].instances]
                    factors = generator.bank(gates[group])
                    batch = self._edge.chat.batch(instances, systems)
                    share = len(group) / len(self._episodes)
                    losses[kind] += share * answer_loss(self._edge.logits(batch, factors), batch).item()
                    if kind == "right":
                        inputs = [instance.input for instance in instances]
                        texts = self._writer.answer(inputs, systems, factors, LONGEST_ANSWER).texts
                        exact += sum(t == i.output.strip() for t, i in zip(texts, instances, strict=True))
        return Scores(losses, exact / sum(len(episode.instances) for episode in self._episodes))

    def _gates(self, generator: LoraGenerator, descriptions: Sequence[TaskDescription]) -> Tensor:
        encoded = encode_prompts(self._tokenizer, [render_prompt(task) for task in descriptions])
        encoded = [ids[: generator.config.max_prompt_tokens] for ids in encoded]
        groups = _groups([len(ids) for ids in encoded])
        parts = torch.cat([generator(*pad_right([encoded[i] for i in group])) for group in groups])
        return parts[torch.tensor([i for group in groups for i in group]).argsort()]


def _groups(lengths: list[int]) -> list[list[int]]:
    return grouped(lengths, parts=-(-len(lengths) // GROUP))


def _mismatched(episodes: Sequence[Episode], number: int) -> Episode:
    """The next episode of the same family under another description, else the next of any."""
    episode = episodes[number]
    later = [*episodes[number + 1 :], *episodes[:number]]
    family = episode.name.split("/")[0]
    same = (other for other in later if other.name.split("/")[0] == family and other.task != episode.task)
    return next(same, later[0])
