"""Training a generator: resuming, the loss of a step, and what is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from cloud_service.generator import LoraGenerator
from cloud_service.generator.answer_batch import AnswerBatch, answer_loss, answer_losses
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.router import balance_term
from cloud_service.task import TaskDescription
from tests.training.models import tiny_config, tiny_model
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, Mixture
from training.fit.generator import (
    CONTRASTED,
    EdgeAnswers,
    EpisodeBatches,
    GeneratorSettings,
    choose_rivals,
    grouped,
    gumbel_noise,
    train_generator,
    trained_parameters,
)

SETTINGS = GeneratorSettings(steps=4, tasks=3, inputs=2, warmup=1, longest_prompt=300, longest_turn=80)


INSTANCES = [Instance("wake me at seven", "set_alarm"), Instance("hi", "yes"), Instance("what is it now", "12:30 pm")]


def random_generator(cloud: LlamaForCausalLM, edge: LlamaForCausalLM, **changes: object) -> LoraGenerator:
    torch.manual_seed(5)
    generator = LoraGenerator(tiny_config(**changes), cloud, edge_shape(edge.config))
    with torch.no_grad():
        for b in generator.bank.b.values():
            b.normal_(std=0.3)
    return generator


def test_episodes_of_a_step_follow_from_its_number(mixture: Mixture, tokenizer: PreTrainedTokenizerFast) -> None:
    batches, again = (EpisodeBatches(mixture, tokenizer, SETTINGS) for _ in range(2))
    first = batches.draw(7)
    assert len(first[0]) == len(first[1]) == 3
    assert all(len(ids) <= SETTINGS.longest_prompt for ids in first[1])
    assert batches.draw(8) != first
    assert again.draw(7) == first
    assert again.draw(7, "validation") != first


def test_groups_hold_every_index_once_and_like_lengths_together() -> None:
    assert grouped([5, 1, 8, 3, 2, 7, 6, 4], parts=4) == [[1, 4], [3, 7], [0, 6], [5, 2]]
    assert sorted(i for group in grouped([1] * 5) for i in group) == list(range(5))
    assert grouped([9]) == [[0]]


class Training:
    """A generator in training from a fixed start."""

    def __init__(
        self,
        mixture: Mixture,
        tokenizer: PreTrainedTokenizerFast,
        train_cloud: bool,
        tasks: int = 3,
        inputs: int = 2,
        precision: Literal["bfloat16", "float32"] = "bfloat16",
        **changes: object,
    ) -> None:
        self.cloud = tiny_model(tokenizer, 1).requires_grad_(False)
        edge = tiny_model(tokenizer, 2)
        self.edge_weights = {name: p.clone() for name, p in edge.named_parameters()}
        self.generator = random_generator(self.cloud, edge, **changes)
        self.settings = GeneratorSettings(
            steps=4,
            tasks=tasks,
            inputs=inputs,
            warmup=1,
            longest_prompt=300,
            longest_turn=80,
            train_cloud=train_cloud,
            precision=precision,
        )
        self.edge = EdgeAnswers(edge, tokenizer, 80, self.settings.dtype_on(torch.device("cpu")))
        self.batches = EpisodeBatches(mixture, tokenizer, self.settings)

    def run(self, directory: Path, stop_after: int | None = None) -> list[float]:
        return train_generator(
            self.generator, self.cloud, self.edge, self.batches, self.settings, directory, stop_after=stop_after
        )

    def state(self) -> dict[str, Tensor]:
        own = {name: v for name, v in self.generator.state_dict().items() if v.is_floating_point()}
        return own | {f"cloud.{name}": value for name, value in self.cloud.state_dict().items()}


@pytest.mark.parametrize(
    ("train_cloud", "changes"),
    [
        (True, {"gating": "dense", "norm": "layer", "groups": 3}),
        (False, {"gating": "topk_softmax", "norm": "batch", "adapter_rank": 2, "mix": "deltas"}),
    ],
)
def test_resumed_training_has_exactly_the_losses_of_an_uninterrupted_one(
    tmp_path: Path,
    mixture: Mixture,
    tokenizer: PreTrainedTokenizerFast,
    train_cloud: bool,
    changes: dict[str, object],
) -> None:
    """With the cloud model trained and with its adapter; everything agrees to the last bit, running statistics too."""
    whole = Training(mixture, tokenizer, train_cloud, **changes)
    start = {name: value.clone() for name, value in whole.state().items()}
    losses = whole.run(tmp_path / "whole")
    assert len(set(losses)) == 4
    resumed: list[float] = []
    for stop_after in (2, None):
        part = Training(mixture, tokenizer, train_cloud, **changes)
        resumed += part.run(tmp_path / "parts", stop_after)
    assert resumed == losses
    end = whole.state()
    for name, value in part.state().items():
        assert torch.equal(value, end[name]), name
    moved = {name for name, value in end.items() if not torch.equal(value, start[name])}
    assert moved == {name for name in end if train_cloud or not name.startswith("cloud.")}
    for name, value in whole.edge.model.named_parameters():
        assert torch.equal(value, whole.edge_weights[name]), "the edge model is frozen"
    assert not whole.generator.training
    assert not whole.cloud.training


class SameBatch(EpisodeBatches):
    """Gives the episodes of the first step in every step."""

    def draw(self, step: int, split: Split = "train") -> tuple[list[Episode], list[list[int]]]:
        return super().draw(0, split)


def test_training_lowers_the_loss(tmp_path: Path, mixture: Mixture, tokenizer: PreTrainedTokenizerFast) -> None:
    """On the same episodes in each step: losses of different ones differ by more than a few steps can lower them."""
    training = Training(mixture, tokenizer, True, gating="dense", norm="layer")
    training.settings = GeneratorSettings(
        steps=10, tasks=3, inputs=2, warmup=1, longest_prompt=300, longest_turn=80, learning_rate=2e-2, train_cloud=True
    )
    training.batches = SameBatch(mixture, tokenizer, training.settings)
    losses = training.run(tmp_path / "run")
    assert losses[-1] < losses[0] - 0.5


def test_first_loss_is_that_of_the_pieces_put_together(
    tmp_path: Path, mixture: Mixture, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Grouping by length must not mix tasks up: against one task at a time, in the order they were drawn.

    In float32, where nothing but a mistake tells the two apart.
    """
    training = Training(mixture, tokenizer, False, tasks=6, precision="float32", gating="topk_softmax", norm="none")
    generator, edge = training.generator, training.edge
    episodes, encoded = training.batches.draw(0)
    batches = [edge.chat.batch(episode.instances, [None] * len(episode.instances)) for episode in episodes]
    with torch.no_grad():
        gates = []
        for ids in encoded:
            states = generator.prompt_encoder(torch.tensor([ids]), torch.tensor([len(ids)]))
            gates.append(generator.routers(states))

        def mean_loss(gates: list[Tensor]) -> float:
            pairs = zip(batches, gates, strict=True)
            return sum(answer_loss(edge.logits(b, generator.bank(g)), b).item() for b, g in pairs) / len(batches)

        balance = training.settings.balance_weight * balance_term(torch.cat(gates)).item()
        expected, mixed_up = mean_loss(gates) + balance, mean_loss([*gates[1:], gates[0]]) + balance
    loss = training.run(tmp_path / "run", stop_after=1)[0]
    assert abs(loss - expected) < 0.01 * abs(mixed_up - expected)


def test_contrast_asks_how_much_likelier_answers_are_than_under_another_description(
    tmp_path: Path, mixture: Mixture, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Against the pieces put together: each task's answers under the gates of the next one of its family."""
    settings = {"precision": "float32", "balance_weight": 0.0}
    training = Training(mixture, tokenizer, False, tasks=6, inputs=3, gating="topk_softmax", norm="none")
    generator, edge = training.generator, training.edge
    training.settings = replace(training.settings, **settings)
    episodes, encoded = training.batches.draw(0)
    with torch.no_grad():
        gates = [generator(torch.tensor([ids]), torch.tensor([len(ids)])) for ids in encoded]
        expected = 0.0
        for task, rival in enumerate(choose_rivals(episodes)):
            if rival is None:
                continue
            batch = edge.chat.batch(episodes[task].instances[:CONTRASTED], [None] * CONTRASTED)
            own, others = (answer_losses(edge.logits(batch, generator.bank(gates[n])), batch) for n in (task, rival))
            expected -= torch.nn.functional.logsigmoid(others - own).mean().item() / 6
    plain = training.run(tmp_path / "plain", stop_after=1)[0]
    training = Training(mixture, tokenizer, False, tasks=6, inputs=3, gating="topk_softmax", norm="none")
    training.settings = replace(training.settings, **settings, contrast=2.0)
    assert training.run(tmp_path / "contrast", stop_after=1)[0] - plain == pytest.approx(2 * expected, rel=1e-3)


class TwoTasks(EpisodeBatches):
    """Gives a task of few words and one of many."""

    def draw(self, step: int, split: Split = "train") -> tuple[list[Episode], list[list[int]]]:
        tasks = [TaskDescription("Do it.", output_format="A word."), TaskDescription("Do it well. " * 20)]
        return [Episode("extract", task, tuple(INSTANCES[:2])) for task in tasks], [[5, 6], [6, 7, 8]]


def test_short_description_stands_in_front_of_the_inputs_where_the_generator_keeps_one(
    tmp_path: Path, mixture: Mixture, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the tokens that the edge model sees; a longer one is left out whole, and 0 keeps none."""
    turns = {f"<|user|>{instance.input}<|assistant|>{instance.output}<|end|>" for instance in INSTANCES[:2]}
    tokens = len(tokenizer("Do it.\nA word.")["input_ids"])
    for longest, expected in ((0, ""), (tokens - 1, ""), (tokens, "<|system|>Do it.\nA word.")):
        training = Training(mixture, tokenizer, False, tasks=2, residual_prompt_tokens=longest, norm="layer")
        training.batches = TwoTasks(mixture, tokenizer, training.settings)
        seen: set[str] = set()
        logits = training.edge.logits

        def record(batch: AnswerBatch, *others: Any, logits: Any = logits, seen: set[str] = seen) -> Tensor:
            seen |= {tokenizer.decode(ids).replace("<|pad|>", "") for ids in batch.ids}
            return logits(batch, *others)

        monkeypatch.setattr(training.edge, "logits", record)
        training.run(tmp_path / str(longest), stop_after=1)
        assert seen == {f"<|bos|>{front}{turn}" for front in (expected, "") for turn in turns}


def test_rivals_are_of_one_family_and_have_closed_sets() -> None:
    names = ("tools", "classify/a", "tools", "extract/a", "extract/b", "classify/b", "tools", "reverse/a")
    task = TaskDescription(description="any")
    drawn = [Episode(name, task, (), () if name.startswith("extract") else ("yes",)) for name in names]
    assert choose_rivals(drawn) == [2, 5, 6, None, None, 1, 0, None]


def test_gumbel_noise_acts_in_training_alone(
    tmp_path: Path, mixture: Mixture, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The first loss, before any update, is another; a generator's gates are the same, and without chance."""
    losses, gates = [], []
    for gumbel in (0.0, 5.0):
        training = Training(mixture, tokenizer, False, gating="topk_softmax", norm="none")
        training.settings = replace(training.settings, gumbel=gumbel)
        with torch.no_grad():
            gates.append(training.generator(torch.tensor([[5, 6, 7]]), torch.tensor([3])))
        losses.append(training.run(tmp_path / str(gumbel), stop_after=1)[0])
    assert losses[0] != losses[1]
    assert torch.equal(*gates)


def test_gumbel_noise_is_that_of_its_seed_and_distribution() -> None:
    """Mean 0.577 and variance pi^2 / 6; equal in every process of a step."""
    like = torch.zeros(100, 100)
    noise = gumbel_noise(like, "1/7")
    assert torch.equal(noise, gumbel_noise(like, "1/7"))
    assert not torch.equal(noise, gumbel_noise(like, "1/8"))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.05)
    assert noise.var().item() == pytest.approx(1.6449, abs=0.1)


def test_trained_are_the_generator_and_what_the_settings_say(tokenizer: PreTrainedTokenizerFast) -> None:
    cloud, edge = tiny_model(tokenizer, 1).requires_grad_(False), tiny_model(tokenizer, 2)
    generator = random_generator(cloud, edge, norm="batch", adapter_rank=2)
    names = set(trained_parameters(generator, cloud, SETTINGS))
    assert {"generator.prompt_encoder.meta", "generator.bank.a.up", "generator.routers.batch_norm.running_var"} < names
    assert "generator.prompt_encoder.adapter.a.0_q_proj" in names
    assert not any(name.startswith("cloud.") for name in names)
    assert not any(p.requires_grad for p in cloud.parameters())
    with_cloud = set(trained_parameters(generator, cloud, GeneratorSettings(steps=1, train_cloud=True)))
    assert with_cloud - names == {f"cloud.{name}" for name, _ in cloud.get_decoder().named_parameters()}
