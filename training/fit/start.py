"""Adapter: the weights that a run goes on from: those of a stored generator of the same shape, for the same models."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import Manifest, ModelReference, load_parameters, open_bank, read_manifest
from loragen.contract.bank import Bank
from loragen.contract.names import PROJECTIONS

CHANGEABLE = frozenset({"id", "residual_prompt_tokens", "max_prompt_tokens"})
"""Settings that say nothing of the weights, in which the stored generator may differ."""


class StartError(ValueError):
    """A generator that a run cannot go on from."""


def load_start(folder: Path, generator: LoraGenerator, cloud: ModelReference | None, edge: ModelReference) -> None:
    """Loads a stored generator into a fresh one, in place: prompt encoder, routers, all experts and the choice head.

    Args:
        folder: With generator.json.
        generator: On any device.
        cloud: The cloud model of the run; None where the run trains it.
        edge: The edge model of the run.

    Raises:
        StartError: The stored one has another shape, or was trained for other models.
        CheckpointError: There is no stored generator, or it is damaged.
    """
    manifest = read_manifest(folder)
    _verify_fits(folder, manifest, generator, cloud, edge)
    load_parameters(folder, generator)
    _load_experts(open_bank(folder, manifest, generator.shape), generator)


def _verify_fits(
    folder: Path, manifest: Manifest, generator: LoraGenerator, cloud: ModelReference | None, edge: ModelReference
) -> None:
    stored, wanted = asdict(manifest.config), asdict(generator.config)
    if different := [name for name in wanted if name not in CHANGEABLE and stored[name] != wanted[name]]:
        names = ", ".join(f"{name} is {stored[name]!r} there and {wanted[name]!r} in the config" for name in different)
        raise StartError(f"the generator in {folder} has another shape: {names}")
    for role, theirs, ours in (("cloud", manifest.cloud_model, cloud), ("edge", manifest.edge_model, edge)):
        if ours is not None and theirs.digest != ours.digest:
            raise StartError(f"the generator in {folder} was trained for the {role} model {theirs.id}, not {ours.id}")


@torch.no_grad()
def _load_experts(bank: Bank, generator: LoraGenerator) -> None:
    for layer in range(generator.config.first_layer, generator.shape.layers):
        for projection in PROJECTIONS:
            stacked = [_float32(factor) for factor in bank.factors(layer, projection)]  # A and B, (all experts, ...)
            first = 0
            for experts in generator.banks:
                last = first + experts.config.experts
                for ours, theirs in zip((experts.a, experts.b), stacked, strict=True):
                    ours[projection][layer - generator.config.first_layer].copy_(theirs[first:last])
                first = last
    if generator.choice is not None:
        for number, layer in enumerate(bank.header.choice_layers):
            a, b = bank.choice_factors(layer)
            generator.choice.a[number].copy_(_float32(a))
            generator.choice.b[number].copy_(_float32(b))


def _float32(factor: NDArray[np.float16]) -> torch.Tensor:
    return torch.from_numpy(factor.astype(np.float32))
