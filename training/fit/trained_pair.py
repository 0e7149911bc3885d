"""Adapter: a trained pair on disk, for what calibrates and measures it: where its files are, and loading them."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import Manifest, load_experts, load_parameters, read_manifest, verify_model
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.pretrained import (
    load_cloud_model,
    load_language_model,
    load_model_config,
    load_tokenizer,
    resolve_model,
)
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


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """A generator and its two models in memory."""

    manifest: Manifest
    generator: LoraGenerator
    cloud_tokenizer: PreTrainedTokenizerBase
    edge: PreTrainedModel
    edge_tokenizer: PreTrainedTokenizerBase


def load_trained_pair(pair: ModelPair, device: str = "cpu") -> TrainedPair:
    """Cloud model, generator and edge model; in float32 on a CPU, the models in bfloat16 elsewhere.

    Raises:
        CheckpointError: The files are not those of one pair.
    """
    manifest, cloud_path, edge_path = read_manifest(pair.generator), Path(pair.cloud_model), Path(pair.edge_model)
    verify_model("cloud", manifest.cloud_model, cloud_path)
    verify_model("edge", manifest.edge_model, edge_path)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    cloud, edge = load_cloud_model(cloud_path, dtype), load_language_model(edge_path, dtype)
    generator = LoraGenerator(manifest.config, cloud, edge_shape(edge.config)).eval()
    load_parameters(pair.generator, generator)
    load_experts(pair.generator, generator)
    for module in (cloud, edge, generator):
        module.to(torch.device(device))
    tokenizers = [load_tokenizer(path) for path in (cloud_path, edge_path)]
    return TrainedPair(manifest, generator, tokenizers[0], edge, tokenizers[1])


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
