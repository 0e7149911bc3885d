"""The choice head in closed form: what it reads, where it writes, and sets that nothing was fitted on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloud_service.generator.choice_head import ChoiceHead, ChoiceHeadConfig, ChoiceMeanings
from cloud_service.generator.last_layer import LastLayer
from cloud_service.generator.meanings import SentenceEncoder
from tests.cloud_service.generator.tiny import encoder_tokenizer, random_model, tokenizer
from training.data.families import Sources
from training.fit.choice_head import ChoiceHeadSettings, code_tokens, fit_choice_head, known_meanings, solve_head

CODES = tuple(range(40, 52))
ENCODER, INNER, HIDDEN = 16, 48, 32
SETTINGS = ChoiceHeadSettings(requests=2, described_tools=6, labelled=4, own_texts=8, codes=len(CODES))


def head() -> ChoiceHead:
    return ChoiceHead(ChoiceHeadConfig(1, ENCODER + 1), 2, INNER, HIDDEN, ENCODER, len(CODES))


def last_layer() -> LastLayer:
    return LastLayer(random_model("llama"), tokenizer(), 64)


def test_sets_of_unseen_tools_are_answered() -> None:
    """Where an input's state is a linear function of its tool's meaning, with noise, the head knows new tools."""
    draw = torch.Generator().manual_seed(0)
    way = torch.randn(ENCODER, INNER, generator=draw)

    def requests(tools: Tensor) -> Tensor:
        return tools @ way + 0.2 * torch.randn(len(tools), INNER, generator=draw) + 3.0

    tools = torch.nn.functional.normalize(torch.randn(400, ENCODER, generator=draw), dim=-1)
    fitted = head()
    solve_head(fitted, requests(tools), tools, tools, last_layer().code_directions(CODES), SETTINGS)

    unseen = torch.nn.functional.normalize(torch.randn(200, 4, ENCODER, generator=draw), dim=-1)
    wanted = torch.randint(4, (200,), generator=draw)
    zeros = torch.zeros_like(unseen)
    keys = fitted(ChoiceMeanings(unseen, zeros, torch.ones(200, 4, dtype=torch.bool)))[:, 0]
    scores = torch.einsum("nsr,nr->ns", keys, requests(unseen[torch.arange(200), wanted]) @ fitted.a[0].T)
    assert (scores.argmax(-1) == wanted).float().mean() > 0.9


def test_head_ignores_states_of_another_place() -> None:
    """States of another place, which lie elsewhere, move no key; those of inputs still do."""
    draw = torch.Generator().manual_seed(0)
    way = torch.randn(ENCODER, INNER, generator=draw)
    tools = torch.nn.functional.normalize(torch.randn(400, ENCODER, generator=draw), dim=-1)
    place = 4.0 * torch.randn(INNER, generator=draw)
    requests = tools @ way + 0.2 * torch.randn(400, INNER, generator=draw) + 3.0
    elsewhere = 0.2 * torch.randn(300, INNER, generator=draw) + 3.0 + place
    directions = last_layer().code_directions(CODES)
    moved = []
    for inactive in (None, elsewhere[:200]):
        fitted = head()
        solve_head(fitted, requests, tools, tools, directions, SETTINGS, inactive)
        zeros = torch.zeros(1, 4, ENCODER)
        keys = fitted(ChoiceMeanings(tools[None, :4], zeros, torch.ones(1, 4, dtype=torch.bool)))[0, 0]
        own, other = (keys @ (states @ fitted.a[0].T).T for states in (requests[:4], elsewhere[200:]))
        assert own.argmax(0).tolist() == [0, 1, 2, 3]
        moved.append((other.std() / own.std()).item())
    assert moved[1] < 0.3 * moved[0]


def test_a_head_whose_lora_leaves_float16_is_refused() -> None:
    tools = torch.nn.functional.normalize(torch.randn(400, ENCODER, generator=torch.Generator().manual_seed(0)), dim=-1)
    requests = torch.randn(400, INNER, generator=torch.Generator().manual_seed(1))  # they say nothing of the tools
    settings = replace(SETTINGS, strength=1e5)
    with pytest.raises(ValueError, match="smaller strength"):
        solve_head(head(), requests, tools, tools, last_layer().code_directions(CODES), settings)


def test_codes_are_letters_and_pairs_of_letters() -> None:
    assert code_tokens(tokenizer(), 3) == tuple(tokenizer()(letter)["input_ids"][0] for letter in "ABC")
    with pytest.raises(ValueError, match="expected 5000"):
        code_tokens(tokenizer(), 5000)


def test_what_the_edge_model_reads_is_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceEncoder(random_model("bert", hidden_size=ENCODER, num_attention_heads=2), encoder_tokenizer())
    pairs = known_meanings(Sources(data), SETTINGS)
    assert len({meaning for _, meaning in pairs}) > 10

    def fit() -> ChoiceHead:
        fitted = head()
        fit_choice_head(fitted, CODES, last_layer(), encoder, pairs, SETTINGS, tmp_path / "choice.safetensors")
        return fitted

    first = fit()
    monkeypatch.setattr(LastLayer, "read", None)
    second = fit()
    torch.testing.assert_close(first.a, second.a)
    torch.testing.assert_close(first.of_choice.weight, second.of_choice.weight)
