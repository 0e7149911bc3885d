"""The two models of a run, loaded as they were published; and how a trained cloud model is stored."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.checkpoint import ModelReference
from cloud_service.generator.pretrained import (
    is_gguf,
    load_cloud_model,
    load_language_model,
    load_tokenizer,
    resolve_model,
)
from loragen.contract.digest import model_digest
from training.fit.config import TrainingConfig
from training.fit.processes import Processes


@dataclass(frozen=True, slots=True)
class RunModels:
    """What a generator is trained on.

    Attributes:
        cloud_reference: None when the cloud model is trained too, and so becomes another.
    """

    cloud: PreTrainedModel
    cloud_tokenizer: PreTrainedTokenizerBase
    cloud_reference: ModelReference | None
    edge: PreTrainedModel
    edge_tokenizer: PreTrainedTokenizerBase
    edge_reference: ModelReference


def load_pair(config: TrainingConfig, processes: Processes) -> RunModels:
    """Both models as published; the cloud model in float32 when it is trained too.

    Raises:
        CheckpointError: There is no model of a name.
    """
    models, trained = config.load, config.fit.train_cloud
    dtype = config.fit.dtype_on(processes.device)
    with processes.main_first():  # the others find the snapshots in the cache
        cloud, edge = resolve_model(models.cloud), resolve_model(models.edge)
    cloud_model = load_cloud_model(cloud, torch.float32 if trained else dtype)
    edge_model = load_language_model(edge, dtype)
    if processes.device.type == "cpu":  # its fused attention takes a quarter of a step backwards, on rows this short
        cloud_model.set_attn_implementation("eager")
        edge_model.set_attn_implementation("eager")
    return RunModels(
        cloud_model,
        load_tokenizer(cloud),
        None if trained else _reference(models.cloud, cloud),
        edge_model,
        load_tokenizer(edge),
        _reference(models.edge, edge),
    )


def store_trained_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, name: str, processes: Processes
) -> ModelReference:
    """Writes a trained model as a Hugging Face folder, in float16."""
    if processes.is_main:
        shutil.rmtree(folder, ignore_errors=True)
        copy = type(model)(model.config).to(torch.float16)
        copy.load_state_dict({key: value.to(torch.float16) for key, value in model.state_dict().items()})
        copy.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    processes.wait()
    return ModelReference(name, model_digest(folder))


def _reference(name: str, found: Path) -> ModelReference:
    digest = model_digest(found)
    if is_gguf(found):  # its reference is no model id, and a local path means nothing elsewhere
        return ModelReference(found.stem, digest, "" if Path(name).is_file() else name)
    return ModelReference(Path(name).resolve().name if Path(name).is_dir() else name, digest)
