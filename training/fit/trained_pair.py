"""Adapter: a trained pair on disk: where its files are, and loading its prompt encoder."""

from dataclasses import replace
from pathlib import Path

import torch

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import load_parameters, read_manifest, verify_model
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.pretrained import load_cloud_model, load_model_config, resolve_model
from cloud_service.generator.prompt_encoder import PromptEncoder
from loragen.client import ModelPair


def pair_at(folder: Path, cloud: str | None = None, edge: str | None = None) -> ModelPair:
    """The pair in a folder, with its models found on this machine.

    Args:
        folder: With generator/, and cloud/ and edge/ where the models are stored with the pair.
        cloud: Reference of the cloud model, instead of the one that the pair has or names
            (`cloud_service.generator.pretrained`).
        edge: The same for the edge model.

    Raises:
        StackError: The generator cannot be read.
        CheckpointError: A model is neither a folder nor on the hub nor in an installed package.
    """
    pair = ModelPair.at(folder)
    models = (resolve_model(cloud or pair.cloud_model), resolve_model(edge or pair.edge_model))
    return replace(pair, cloud_model=str(models[0]), edge_model=str(models[1]))


def load_trained_prompt_encoder(pair: ModelPair, dtype: torch.dtype) -> PromptEncoder:
    """The prompt encoder of a trained pair, with its cloud model.

    Raises:
        CheckpointError: The generator is altered, or belongs to another cloud model.
    """
    manifest, cloud_path = read_manifest(pair.generator), Path(pair.cloud_model)
    verify_model("cloud", manifest.cloud_model, cloud_path)
    cloud, shape = load_cloud_model(cloud_path, dtype), edge_shape(load_model_config(Path(pair.edge_model)))
    generator = LoraGenerator(manifest.config, cloud, shape)
    load_parameters(pair.generator, generator)
    return generator.prompt_encoder
