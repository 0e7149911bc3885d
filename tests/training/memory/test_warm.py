"""The warm start: activations are kept, and the memory is set from them."""

from pathlib import Path

import torch

from tests.training.memory.small import small_models, small_run
from training.data.families import Sources
from training.memory.edge import SplitEdge
from training.memory.warm import collect_activations, load_activations


def test_activations_are_read_at_the_last_token_whatever_stands_beside_them() -> None:
    models = small_models()
    edge = SplitEdge(models.edge, 1)
    pairs = [("find it", "find"), ("please send all of it to the others", "send")]
    together = collect_activations(pairs, edge, models.edge_tokenizer, models.encoder)
    alone = collect_activations(pairs[:1], edge, models.edge_tokenizer, models.encoder)
    for key, x in alone.read.items():
        torch.testing.assert_close(together.read[key][:1], x, atol=2e-3, rtol=2e-3)


def test_activations_are_kept_and_start_a_run(data: Path, tmp_path: Path) -> None:
    models = small_models()
    edge = SplitEdge(models.edge, 1)
    kept = tmp_path / "activations.safetensors"
    first = load_activations(kept, Sources(data), edge, models.edge_tokenizer, models.encoder)
    again = load_activations(kept, Sources(tmp_path / "none"), edge, models.edge_tokenizer, models.encoder)
    assert torch.equal(first.tools, again.tools)
    generator = small_run(tmp_path, again).generator
    assert generator.bank.reach("down").min() > 0
    assert not torch.equal(generator.bank.reach("down"), torch.ones(1))
    assert all(bool(value.isfinite().all()) for value in generator.state_dict().values())
