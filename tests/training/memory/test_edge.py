"""The split edge model gives what the whole one gives."""

import torch

from tests.training.memory.small import small_models
from training.memory.edge import SplitEdge


def test_the_split_model_gives_the_states_of_the_whole_one() -> None:
    model = small_models().edge
    edge = SplitEdge(model, 1)
    ids = torch.randint(0, 300, (3, 11))
    seen: dict[tuple[int, str], torch.Tensor] = {}
    torch.testing.assert_close(edge.upper(edge.lower(ids), None, seen), model.model(ids).last_hidden_state)
    assert {key: x.shape[-1] for key, x in seen.items()} == {(1, "gate"): 32, (1, "down"): 48}
