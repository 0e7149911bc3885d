"""Whether choices ask for a judgement."""

import torch

from cloud_service.generator.judgements import likeness_to_judgements


def test_likeness_is_the_mean_over_choices_of_the_nearest_word() -> None:
    words = torch.eye(3)[:2]
    choices = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, 0.0, 1.0]])
    assert likeness_to_judgements(choices[:1], words) == 1.0
    assert abs(likeness_to_judgements(choices, words) - (1.0 + 0.6 + 0.0) / 3) < 1e-6
