"""A trained pair on disk: which models belong to it, and that no others are taken."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cloud_service.generator import CheckpointError
from tests.training.conftest import TrainedPair
from training.fit.trained_pair import load_trained_prompt_encoder, pair_at


def test_models_are_those_of_the_folder_unless_others_are_named(tiny_pair: TrainedPair, tmp_path: Path) -> None:
    pair = pair_at(tiny_pair.out)
    assert (Path(pair.cloud_model), Path(pair.edge_model)) == (tiny_pair.out / "cloud", tiny_pair.out / "edge")
    assert pair.base_gguf == tiny_pair.out / "edge-f16.gguf"
    assert Path(pair_at(tiny_pair.out, edge=str(tmp_path)).edge_model) == tmp_path


def test_prompt_encoder_is_loaded_with_its_meta_vectors(tiny_pair: TrainedPair) -> None:
    encoder = load_trained_prompt_encoder(pair_at(tiny_pair.out), torch.float32)
    stored = load_file(tiny_pair.out / "generator" / "router.safetensors")
    assert torch.equal(encoder.meta, stored["prompt_encoder.meta"])


def test_another_cloud_model_is_refused(tiny_pair: TrainedPair) -> None:
    swapped = pair_at(tiny_pair.out, cloud=str(tiny_pair.out / "edge"))
    with pytest.raises(CheckpointError, match="cloud model"):
        load_trained_prompt_encoder(swapped, torch.float32)
