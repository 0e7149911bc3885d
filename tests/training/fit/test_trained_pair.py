"""A trained pair on disk: which models belong to it, and that no others are taken."""

from pathlib import Path

import pytest
import torch

from cloud_service.generator import CheckpointError
from tests.training.conftest import TrainedPair
from training.fit.trained_pair import load_trained_pair, load_trained_prompt_encoder, pair_at


def test_models_are_those_of_the_folder_unless_others_are_named(tiny_pair: TrainedPair, tmp_path: Path) -> None:
    pair = pair_at(tiny_pair.out)
    assert (Path(pair.cloud_model), Path(pair.edge_model)) == (tiny_pair.out / "cloud", tiny_pair.out / "edge")
    assert pair.base_gguf == tiny_pair.out / "edge-f16.gguf"
    assert Path(pair_at(tiny_pair.out, edge=str(tmp_path)).edge_model) == tmp_path


def test_pair_is_loaded_in_float32_with_its_experts(tiny_pair: TrainedPair) -> None:
    trained = load_trained_pair(pair_at(tiny_pair.out))
    assert trained.edge.dtype == torch.float32
    assert any(value.any() for value in trained.generator.bank.b.values()), "experts have moved"
    encoder = load_trained_prompt_encoder(pair_at(tiny_pair.out), torch.float32)
    assert torch.equal(encoder.meta, trained.generator.prompt_encoder.meta)


def test_other_models_are_refused(tiny_pair: TrainedPair) -> None:
    swapped = pair_at(tiny_pair.out, cloud=str(tiny_pair.out / "edge"))
    for load in (load_trained_pair, lambda pair: load_trained_prompt_encoder(pair, torch.float32)):
        with pytest.raises(CheckpointError, match="cloud model"):
            load(swapped)
