"""Meanings of texts: unit vectors of the cloud model without its adapter, one for each text whatever its company."""

import pytest
import torch

from cloud_service.answer.choices import Choice
from cloud_service.generator.meanings import MOST_TOKENS, SentenceEncoder
from cloud_service.generator.prompt_encoder import CloudAdapter
from tests.cloud_service.generator.tiny import encoder_tokenizer, generator_config, random_model

TEXTS = ["route the message", "to a tool", "a message to route to a tool, a tool"]


@pytest.fixture
def encoder() -> SentenceEncoder:
    return SentenceEncoder(random_model("bert"), encoder_tokenizer())


def test_text_has_one_unit_vector_alone_and_in_company(encoder: SentenceEncoder) -> None:
    together = encoder.encode(TEXTS)
    assert torch.allclose(together.norm(dim=1), torch.ones(3))
    for text, vector in zip(TEXTS, together, strict=True):
        assert torch.allclose(encoder.encode([text])[0], vector, atol=1e-5)


def test_long_text_is_cut(encoder: SentenceEncoder) -> None:
    long = "tool " * MOST_TOKENS
    assert torch.equal(encoder.encode([long])[0], encoder.encode([long + "message " * 1000])[0])


def test_choices_are_read_by_their_parts_and_padded(encoder: SentenceEncoder) -> None:
    sets = ((Choice("a", "tool", ("one", "two")), Choice("b", "message")), (Choice("c", "tool"),))
    read = encoder.read(sets)
    tool, one, two = encoder.encode(["tool", "one", "two"])
    assert torch.allclose(read.choices[0, 0], tool, atol=1e-5)
    assert torch.equal(read.choices[0, 0], read.choices[1, 0])
    assert torch.allclose(read.examples[0, 0], (one + two) / 2, atol=1e-5)
    assert not read.examples[1].any()
    assert read.mask.tolist() == [[True, True], [True, False]]


def test_adapter_is_off_while_meanings_are_read_and_on_again() -> None:
    model = random_model("bert")
    before = SentenceEncoder(model, encoder_tokenizer()).encode(TEXTS)
    adapter = CloudAdapter(generator_config(adapter_rank=2), model)
    with torch.no_grad():
        for b in adapter.b.values():
            b += 1
    ids = torch.tensor([[5, 6, 7]])
    adapted = model(input_ids=ids).last_hidden_state
    assert torch.equal(SentenceEncoder(model, encoder_tokenizer(), adapter).encode(TEXTS), before)
    assert torch.equal(model(input_ids=ids).last_hidden_state, adapted)
    assert not torch.equal(SentenceEncoder(model, encoder_tokenizer()).encode(TEXTS), before)
