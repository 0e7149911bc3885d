"""A prompt encoder that remembers reads each prompt once."""

import torch

from tests.training.conftest import TrainedPair
from training.ablation.prompt_states import RememberingPromptEncoder
from training.fit.trained_pair import load_trained_prompt_encoder, pair_at


def test_frozen_prompt_encoder_reads_a_prompt_once(tiny_pair: TrainedPair) -> None:
    prompt_encoder = load_trained_prompt_encoder(pair_at(tiny_pair.out), torch.float32)
    ids, lengths = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([3, 2])
    remembering = RememberingPromptEncoder(prompt_encoder)
    with torch.no_grad():
        expected = prompt_encoder(ids, lengths)
    torch.testing.assert_close(remembering(ids, lengths), expected)
    remembering._prompt_encoder.clear()
    again = remembering(torch.tensor([[8, 9]]), torch.tensor([2]))
    torch.testing.assert_close(again, expected[1:])
    assert not again.requires_grad
    assert torch.equal(again, RememberingPromptEncoder(prompt_encoder)(torch.tensor([[8, 9]]), torch.tensor([2])))
