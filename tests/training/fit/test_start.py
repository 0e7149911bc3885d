"""A run goes on from a stored generator: the same weights to begin with; another shape or model is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import ModelReference, read_manifest, store_generator
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.pretrained import load_cloud_model, load_model_config
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from training.fit.start import StartError, load_start


def fresh(pair: TrainedPair, seed: int = 7) -> LoraGenerator:
    """A generator of the pair's shape with other weights."""
    torch.manual_seed(seed)
    manifest = read_manifest(pair.out / "generator")
    cloud = load_cloud_model(pair.out / "cloud", torch.float32)
    return LoraGenerator(manifest.config, cloud, edge_shape(load_model_config(pair.out / "edge")))


def test_loaded_generator_is_stored_as_the_same_files(tiny_pair: TrainedPair, tmp_path: Path) -> None:
    stored = tiny_pair.out / "generator"
    manifest, generator = read_manifest(stored), fresh(tiny_pair)
    load_start(stored, generator, manifest.cloud_model, manifest.edge_model)
    again = store_generator(tmp_path / "again", generator, manifest.cloud_model, manifest.edge_model)
    assert again.files == manifest.files


def test_another_shape_or_model_is_refused_by_name(tiny_pair: TrainedPair) -> None:
    stored = tiny_pair.out / "generator"
    manifest, generator = read_manifest(stored), fresh(tiny_pair)
    other = ModelReference("other-model", "0" * 64)
    with pytest.raises(StartError, match=f"cloud model {manifest.cloud_model.id}, not other-model"):
        load_start(stored, generator, other, manifest.edge_model)
    with pytest.raises(StartError, match=r"edge model .*, not other-model"):
        load_start(stored, generator, None, other)
    generator.config = replace(generator.config, alpha=16.0)
    with pytest.raises(StartError, match=r"alpha is .* there and 16\.0 in the config"):
        load_start(stored, generator, None, manifest.edge_model)


def test_command_goes_on_from_a_generator(data: Path, tiny_pair: TrainedPair, tmp_path: Path) -> None:
    """Without steps, what comes out has the weights that went in."""
    config = tmp_path / "on.toml"
    no_steps = "".join(f"[{stage}]\nsteps = 0\n" for stage in ("fit", "calls", "labels"))
    config.write_text(f'base = "{tiny_pair.config}"\nrefine = []\n{no_steps}', encoding="utf-8")
    started = tiny_pair.out / "generator"
    run_command(
        "train", config, "--data", data, "--out", tmp_path / "out", "--runs", tmp_path / "runs", "--start", started
    )
    before, after = read_manifest(started), read_manifest(tmp_path / "out/generator")
    assert replace(after.config, id=before.config.id) == before.config
    kept = fresh(tiny_pair)
    again = fresh(tiny_pair, seed=8)
    load_start(started, kept, None, before.edge_model)
    load_start(tmp_path / "out/generator", again, None, after.edge_model)
    ours, theirs = kept.state_dict(), again.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
