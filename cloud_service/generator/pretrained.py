"""Published models: found by a reference, and loaded in Hugging Face form or from a GGUF file.

A reference is a folder, a GGUF file, a hub id, a GGUF file on the hub (`namespace/name/file.gguf`), or `package:NAME`
and `package:NAME/PATH` (`loragen.packages`). An edge model that exists only as GGUF is loaded with the weights and
token ids that a device has (`gguf_model`, `gguf_tokenizer`).
"""

from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from cloud_service.generator.errors import CheckpointError
from cloud_service.generator.gguf_model import load_gguf_config, load_gguf_weights
from cloud_service.generator.gguf_tokenizer import load_gguf_tokenizer
from loragen.packages import PackagedModelError, find_packaged_model, is_package_reference

GGUF_SUFFIX = ".gguf"


def resolve_model(model: str | Path) -> Path:
    """The folder or GGUF file that a reference names; a hub repository is fetched first.

    Raises:
        CheckpointError: There is no such model.
    """
    if is_package_reference(model):
        try:
            return find_packaged_model(model)
        except PackagedModelError as e:
            raise CheckpointError(str(e), hint=e.hint) from e
    path = Path(model)
    if path.is_dir() or (path.is_file() and is_gguf(path)):
        return path
    try:
        if is_gguf(path):
            namespace, name, *inside = path.parts
            return Path(hf_hub_download(f"{namespace}/{name}", "/".join(inside)))
        return Path(snapshot_download(str(model), allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja"]))
    except Exception as e:  # the hub client raises many kinds, from bad names to no network
        raise CheckpointError(f"{model} is neither a folder nor a model that the hub gives: {e}") from e


def is_gguf(path: Path) -> bool:
    """Whether a model is a GGUF file, by its name."""
    return path.suffix == GGUF_SUFFIX


def load_model_config(path: Path) -> PretrainedConfig:
    """The configuration of a model.

    Raises:
        UnsupportedModelError: A GGUF file of an architecture that transformers does not know.
    """
    return load_gguf_config(path) if is_gguf(path) else AutoConfig.from_pretrained(path)


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model.

    Raises:
        UnsupportedModelError: That of a GGUF file may give other ids here than on a device.
    """
    return load_gguf_tokenizer(path) if is_gguf(path) else AutoTokenizer.from_pretrained(path)


def load_language_model(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A causal LM, frozen and in evaluation mode.

    Raises:
        UnsupportedModelError: A GGUF file that does not hold one.
    """
    model: PreTrainedModel
    model = load_gguf_weights(path, dtype) if is_gguf(path) else AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    return model.requires_grad_(False).eval()


def load_cloud_model(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The cloud model, frozen and in evaluation mode.

    It is loaded as a causal LM, unless its configuration names a model without a head or one that was trained on masked
    words. These are loaded without a head, as bidirectional encoders.
    """
    names = load_model_config(path).architectures or ()
    if not any(name.endswith(("Model", "ForMaskedLM")) and not name.endswith("LMHeadModel") for name in names):
        return load_language_model(path, dtype)
    model: PreTrainedModel = AutoModel.from_pretrained(path, dtype=dtype)
    return model.requires_grad_(False).eval()
