"""Checkpoints: whole ones, or none."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.fit.checkpoints import load_checkpoint, store_checkpoint


def parameters(value: float) -> dict[str, Tensor]:
    return {"weight": torch.full((3,), value)}


def test_checkpoint_survives_a_kill_between_its_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever rename does not happen, the run resumes from a whole checkpoint: the last one or the one before."""
    real_replace = os.replace
    for killed_at in (1, 2):
        directory = tmp_path / f"run{killed_at}"
        store_checkpoint(directory, 1, parameters(1.0), [])
        calls = 0

        def replace(source: Path, target: Path, killed_at: int = killed_at) -> None:
            nonlocal calls
            calls += 1
            if calls == killed_at:
                raise KeyboardInterrupt
            real_replace(source, target)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            store_checkpoint(directory, 2, parameters(2.0), [])
        monkeypatch.setattr(os, "replace", real_replace)
        loaded = parameters(0.0)
        assert load_checkpoint(directory, loaded, []) == 1
        assert torch.equal(loaded["weight"], parameters(1.0)["weight"])
        store_checkpoint(directory, 3, parameters(3.0), [])
        assert load_checkpoint(directory, loaded, []) == 3
        assert sorted(path.name for path in tmp_path.glob(f"run{killed_at}*")) == [directory.name]


def test_no_checkpoint_is_step_zero(tmp_path: Path) -> None:
    loaded = parameters(7.0)
    assert load_checkpoint(tmp_path / "none", loaded, []) == 0
    assert loaded["weight"][0] == 7


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    store_checkpoint(tmp_path / "run", 1, parameters(1.0), [])
    with pytest.raises(ValueError, match=r"holds another model: .*bias"):
        load_checkpoint(tmp_path / "run", parameters(0.0) | {"bias": torch.zeros(1)}, [])
