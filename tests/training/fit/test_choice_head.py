"""The choice head: closed form on what can be known, exactness against the model, and a run that resumes."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloud_service.choices import Choice
from cloud_service.generator.choice_head import ChoiceHead, ChoiceHeadConfig, ChoiceMeanings
from cloud_service.generator.edge import UnmergedLora
from cloud_service.generator.meanings import SentenceEncoder
from tests.cloud_service.generator.tiny import encoder_tokenizer, random_model, tokenizer
from training.data.families import Sources
from training.fit.choice_head import (
    ChoiceHeadSettings,
    ChoicePool,
    ClosedSet,
    LastLayer,
    States,
    code_tokens,
    draw_closed_set,
    fit_choice_head,
    score_sets,
    start_head,
)

CODES = tuple(range(40, 52))
ENCODER = 16
INNER, HIDDEN = 48, 32
SETTINGS = ChoiceHeadSettings(
    requests=2, described_tools=6, labelled=4, steps=4, sets=2, inputs=2, warmup=1, codes=len(CODES)
)


def head(rank: int = ENCODER + 1) -> ChoiceHead:
    return ChoiceHead(ChoiceHeadConfig(1, rank, 8), 2, INNER, HIDDEN, ENCODER, len(CODES))


def last_layer(longest: int = 64) -> LastLayer:
    return LastLayer(random_model("llama"), tokenizer(), longest)


def test_sets_of_unseen_tools_are_answered_without_training() -> None:
    """Where an input's state is a linear function of its tool's meaning, with noise, the head knows new tools."""
    draw = torch.Generator().manual_seed(0)
    way = torch.randn(ENCODER, INNER, generator=draw)

    def requests(tools: Tensor) -> Tensor:
        return tools @ way + 0.2 * torch.randn(len(tools), INNER, generator=draw) + 3.0

    tools = torch.nn.functional.normalize(torch.randn(400, ENCODER, generator=draw), dim=-1)
    model, fitted = last_layer(), head()
    start_head(fitted, requests(tools), tools, tools, model.code_directions(CODES), SETTINGS)

    unseen = torch.nn.functional.normalize(torch.randn(30, 4, ENCODER, generator=draw), dim=-1)
    wanted = torch.randint(4, (30, 5), generator=draw)
    asked = torch.take_along_dim(unseen, wanted[..., None], 1).flatten(0, 1)
    texts = [f"{n}" for n in range(len(asked))]
    left = torch.randn(len(asked), HIDDEN, generator=draw)
    states = States({text: n for n, text in enumerate(texts)}, requests(asked), left)
    sets = [ClosedSet((), tuple(texts[5 * n : 5 * n + 5]), tuple(numbers)) for n, numbers in enumerate(wanted.tolist())]
    zeros = torch.zeros_like(unseen)
    meanings = ChoiceMeanings(unseen, zeros, zeros, torch.ones(30, 4, dtype=torch.bool))
    with torch.no_grad():
        _, right = score_sets(fitted, CODES, model, meanings, states, sets)
        _, by_chance = score_sets(head(), CODES, model, meanings, states, sets)
    assert right.float().mean() > 0.9
    assert by_chance.float().mean() < 0.5


def test_logits_from_kept_states_are_those_of_the_model_under_the_lora() -> None:
    edge, texts = random_model("llama"), ["play some music", "wake me"]
    fitted = head()
    torch.nn.init.normal_(fitted.a)
    torch.nn.init.normal_(fitted.b)
    keys = torch.randn(1, 1, 3, ENCODER + 1)
    model = LastLayer(edge, tokenizer(), 64)
    read, left = model.read(texts).of(texts)
    lora = UnmergedLora(edge)
    encoded = [tokenizer()(f"{text}\n")["input_ids"] for text in texts]
    with torch.no_grad():
        found = model.code_logits(fitted, CODES, keys, read[None], left[None])[0]
        factors = {(layer, "down"): (a[None], b) for layer, (a, b) in fitted.deltas(keys).items()}
        for ids, logits in zip(encoded, found, strict=True):
            with lora.applied(factors):
                expected = edge(torch.tensor([ids])).logits[0, -1, list(CODES[:3])]
            torch.testing.assert_close(logits, expected, rtol=2e-2, atol=2e-2)  # states are kept in float16


def test_codes_are_letters_and_pairs_of_letters() -> None:
    assert code_tokens(tokenizer(), 3) == tuple(tokenizer()(letter)["input_ids"][0] for letter in "ABC")
    with pytest.raises(ValueError, match="expected 5000"):
        code_tokens(tokenizer(), 5000)


def test_a_run_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    """The states are read once, and the steps after a stop give what an uninterrupted run gives."""
    encoder = SentenceEncoder(random_model("bert", hidden_size=ENCODER, num_attention_heads=2), encoder_tokenizer())
    sources = Sources(data)

    def fit(folder: Path, stop_after: int | None = None) -> list[float]:
        torch.manual_seed(0)  # the first weights, as in a training run
        return fit_choice_head(head(), CODES, last_layer(), encoder, sources, SETTINGS, tmp_path / folder, stop_after)

    losses = fit(Path("whole"))
    fit(Path("parts"), 2)
    rest = fit(Path("parts"))
    assert len(losses) == SETTINGS.steps
    assert losses[2:] == pytest.approx(rest, rel=1e-4)


def test_the_pool_holds_every_input_that_its_families_draw(data: Path) -> None:
    pool = ChoicePool(Sources(data), SETTINGS)
    rng = random.Random(0)
    for _ in range(50):
        drawn = draw_closed_set(rng, pool.mixture, "train", 3)
        assert set(drawn.inputs) <= set(pool.texts)
        assert all(isinstance(choice, Choice) for choice in drawn.choices)
        assert max(drawn.wanted) < len(drawn.choices)
