"""The last layer: what it reads at the end of an input, and what its output becomes, against the whole model."""

import pytest
import torch
from torch import Tensor

from cloud_service.generator.chat_format import question_ids
from cloud_service.generator.choice_head import ChoiceHead, ChoiceHeadConfig
from cloud_service.generator.edge import edge_projections
from cloud_service.generator.last_layer import LastLayer
from tests.cloud_service.generator.tiny import random_model, tokenizer

CODES = tuple(range(40, 52))
HIDDEN = 32


def test_what_is_read_is_what_the_last_down_projection_gets_at_the_last_token() -> None:
    model, texts = random_model("llama"), ["play some music", "wake me"]
    seen: list[Tensor] = []
    edge_projections(model)[1, "down"].register_forward_hook(lambda _, x, __: seen.append(x[0][0, -1]))
    read = LastLayer(model, tokenizer(), 64).read(texts)
    seen.clear()
    for row, text in zip(read, texts, strict=True):
        model(torch.tensor([tokenizer()(f"{text}\n")["input_ids"]]))
        torch.testing.assert_close(row, seen.pop().half(), rtol=1e-3, atol=1e-3)


def test_a_code_direction_raises_its_code_alone() -> None:
    model = random_model("llama")
    directions = LastLayer(model, tokenizer(), 64).code_directions(CODES)
    state = torch.randn(HIDDEN)
    with torch.no_grad():
        size = state.square().mean().add(model.config.rms_norm_eps).sqrt()
        weight = model.model.norm.weight
        raised = ((state + 3.0 * directions[:, 5]) / size * weight - state / size * weight) @ model.lm_head.weight.T
    expected = torch.zeros(len(CODES))
    expected[5] = 3.0 / size
    torch.testing.assert_close(raised[list(CODES)], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gemma3_text"])
def test_code_logits_are_those_of_the_model_when_down_writes_besides(family: str) -> None:
    """Gemma has a norm behind `down`, and Gemma 2 caps its logits."""
    model, texts = random_model(family), ["play some music", "wake me", "x"]
    layer = LastLayer(model, tokenizer(), 64)
    states, added = layer.states(texts), torch.randn(3, HIDDEN)
    for row, text in enumerate(texts):
        ids = torch.tensor([question_ids(tokenizer(), text)])
        for more in (torch.zeros(HIDDEN), added[row]):
            hook = edge_projections(model)[1, "down"].register_forward_hook(lambda _, __, y, more=more: y + more)
            expected = model(ids).logits[0, -1, list(CODES)]
            hook.remove()
            found = layer.code_logits(states, more.expand(3, -1), CODES)[row]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_under_a_choice_head_the_layer_writes_the_code_of_each_row_s_nearest_choice_too() -> None:
    model, ids = random_model("llama"), torch.tensor([[1, 2, 3], [4, 5, 6]])
    down = edge_projections(model)[1, "down"]
    layer = LastLayer(model, tokenizer(), 64)
    head = ChoiceHead(ChoiceHeadConfig(1, 4), 2, down.in_features, HIDDEN, encoder=6, codes=5)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    keys = torch.randn(2, 3, 4)  # three choices of the five
    hook = down.register_forward_hook(
        lambda _, x, y: y + torch.einsum("btd,rd,bcr,hc->bth", x[0], head.a[0], keys, head.b[0, :, :3])
    )
    expected = model(ids).logits
    hook.remove()
    plain = model(ids).logits
    with layer.under(head, keys):
        torch.testing.assert_close(model(ids).logits, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model(ids).logits, plain)
