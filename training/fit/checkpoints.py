"""Adapter: the state of a training run on disk, as safetensors and JSON, never pickle.

A checkpoint is written to a temporary folder and renamed. The one before stays until then, so that a run killed at any
moment resumes from a whole one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def store_checkpoint(
    directory: Path,
    step: int,
    parameters: Mapping[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    start: str = "",
) -> None:
    """Writes parameters, optimizer state, the number of finished steps and what the run started from.

    The last checkpoint is replaced.
    """
    temporary = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(
        {name: value.detach().contiguous() for name, value in parameters.items()}, temporary / "parameters.safetensors"
    )
    moments: dict[str, Tensor] = {}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                moments[f"{number}.{index}.{name}"] = torch.as_tensor(value).contiguous()
    save_file(moments, temporary / "optimizers.safetensors")
    (temporary / "run.json").write_text(json.dumps({"step": step, "start": start}))
    previous = _previous(directory)
    shutil.rmtree(previous, ignore_errors=True)
    if directory.exists():
        os.replace(directory, previous)
    os.replace(temporary, directory)
    shutil.rmtree(previous, ignore_errors=True)


def load_checkpoint(
    directory: Path, parameters: Mapping[str, Tensor], optimizers: Sequence[torch.optim.Optimizer], start: str = ""
) -> int:
    """Restores what `store_checkpoint` wrote, in place.

    Returns:
        The number of finished steps; 0 when there is no checkpoint.

    Raises:
        ValueError: The checkpoint is of another model, or of a run that started from other weights.
    """
    if not directory.exists() and _previous(directory).exists():  # killed between the two renames
        os.replace(_previous(directory), directory)
    if not (directory / "run.json").exists():
        return 0
    run = json.loads((directory / "run.json").read_text())
    if start and run.get("start") and run["start"] != start:
        raise ValueError(
            f"{directory} was trained on from other weights: an earlier stage, a setting or a model has changed. "
            "Remove the folder to train this stage anew"
        )
    stored = load_file(directory / "parameters.safetensors")
    if stored.keys() != parameters.keys():
        raise ValueError(f"{directory} holds another model: {sorted(stored.keys() ^ parameters.keys())[:4]} differ")
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(stored[name])
    moments = load_file(directory / "optimizers.safetensors")
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in moments.items():
            owner, index, name = key.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(run["step"])


def start_digest(parameters: Mapping[str, Tensor], origin: str) -> str:
    """sha256 of what a run starts from: every trained tensor, and `origin` for what is not trained."""
    digest = hashlib.sha256(origin.encode())
    for name, value in sorted(parameters.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _previous(directory: Path) -> Path:
    return directory.with_name(directory.name + ".old")
