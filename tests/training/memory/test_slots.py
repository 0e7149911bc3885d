"""Slots spell values in edge tokens."""

import torch

from cloud_service.generator.chat_format import answer_ids
from tests.training.memory.small import small_models
from training.memory.pieces import Piece


def test_a_name_has_one_slot_for_each_edge_token_and_one_meaning() -> None:
    models = small_models()
    slots = models.encoder.read([[Piece("tool", "find it", "find_it", value_span=(0, 7))]])
    assert slots.ids[0].tolist() == answer_ids(models.edge_tokenizer, "find_it")[:-1]
    assert slots.meanings[0].unique(dim=0).shape[0] == 1
    torch.testing.assert_close(slots.meanings[0, 0], models.encoder.encode_texts(["find it"])[0])


def test_a_text_without_encoder_tokens_has_slots_all_the_same() -> None:
    slots = small_models().encoder.read([[Piece("description", "\u200b", "\u200b")]])
    assert slots.mask.all()
