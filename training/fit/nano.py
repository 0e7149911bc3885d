"""Trains two models from scratch: tokenizer, edge LM, and a cloud LM grown from it; each step resumable.

A training config may name a published model as the cloud model instead, which then has a tokenizer of its own.
"""

import os
import shutil
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.generator.pretrained import load_language_model
from training.data.episodes import Mixture
from training.fit.config import ScratchModels, TrainingConfig
from training.fit.pair import RunModels, load_published_cloud, store_trained_model
from training.fit.pretrain import PackedRows, grow_model, new_language_model, pretrain, sample_paragraphs
from training.fit.processes import Processes
from training.fit.tokenizer import sample_texts, train_tokenizer


def make_pair(
    models: ScratchModels,
    config: TrainingConfig,
    mixture: Mixture,
    data: Path,
    out: Path,
    runs: Path,
    processes: Processes,
) -> RunModels:
    """Trains whatever is not yet finished under `runs`, and writes to `out` what is not trained further."""
    tokenizer = _tokenizer(models, mixture, data, runs / "tokenizer", processes)
    paragraphs = sample_paragraphs(data, models.paragraphs, seed=0)

    edge = new_language_model(models.edge, tokenizer, models.edge_pretrain.seed).to(processes.device)
    rows = PackedRows(mixture, paragraphs, tokenizer, models.edge_pretrain)
    pretrain(edge, rows, models.edge_pretrain, runs / "edge", "edge LM", models.compiled, processes)
    edge_reference = store_trained_model(edge, tokenizer, out / "edge", f"{config.generator.id}-edge", processes)
    frozen = load_language_model(out / "edge", config.fit.dtype_on(processes.device))
    if isinstance(models.cloud, str):  # small enough to stay in float32, as it is served
        published = load_published_cloud(models.cloud, torch.float32, config.fit.train_cloud, processes)
        return RunModels(*published, frozen, tokenizer, edge_reference)

    cloud = grow_model(edge, list(models.cloud.layers)).to(processes.device)
    rows = PackedRows(mixture, paragraphs, tokenizer, models.cloud.pretrain)
    pretrain(cloud, rows, models.cloud.pretrain, runs / "cloud", "cloud LM", models.compiled, processes)
    cloud_reference = None
    if not config.fit.train_cloud:
        cloud_reference = store_trained_model(
            cloud, tokenizer, out / "cloud", f"{config.generator.id}-cloud", processes
        )
    return RunModels(cloud.requires_grad_(False), tokenizer, cloud_reference, frozen, tokenizer, edge_reference)


def _tokenizer(
    models: ScratchModels, mixture: Mixture, data: Path, folder: Path, processes: Processes
) -> PreTrainedTokenizerFast:
    with processes.main_first():
        if not folder.exists():
            texts = sample_texts(mixture, data, 0, models.tokenizer_episodes, models.tokenizer_paragraphs)
            unfinished = folder.with_name(folder.name + ".tmp")
            shutil.rmtree(unfinished, ignore_errors=True)
            train_tokenizer(texts, models.vocabulary, models.context).save_pretrained(unfinished)
            os.replace(unfinished, folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)
