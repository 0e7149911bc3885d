"""GGUF files in torch: the configuration and the weights of a model that exists in no other form.

transformers can read GGUF files too, and knows the configurations; its way with the rest takes a minute for a model of
135 M parameters. Blocks are widened to float32, which is what a device multiplies with, up to rounding.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from gguf.constants import MODEL_ARCH_NAMES, GGMLQuantizationType, Keys
from gguf.quants import dequantize
from gguf.tensor_mapping import get_tensor_name_map
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from cloud_service.generator.errors import UnsupportedModelError
from loragen.contract.errors import ContractError
from loragen.contract.gguf_header import Header, TensorInfo, lay_out, read_header, uint32

# What a configuration does not need, and what takes transformers most of its time.
_LISTS = (Keys.Tokenizer.LIST, Keys.Tokenizer.TOKEN_TYPE, Keys.Tokenizer.SCORES, Keys.Tokenizer.MERGES)

# llama.cpp scales attention by the head size, but in the two 27B models, which it knows by their layer count.
_LAYERS_SCALED_BY_WIDTH = {"gemma2": 46, "gemma3": 62}
_SLIDING_ROPE_BASE = 10_000.0


def read_gguf(path: Path) -> Header:
    """The header of a GGUF file.

    Raises:
        UnsupportedModelError: It is no GGUF file, or cannot be read.
    """
    try:
        return read_header(path)
    except (ContractError, OSError) as e:
        raise UnsupportedModelError(f"{path.name} cannot be read: {e}") from e


def load_gguf_config(path: Path) -> PretrainedConfig:
    """The configuration that transformers makes of a GGUF file's metadata.

    Raises:
        UnsupportedModelError: It knows no such architecture, or the file cannot be read.
    """
    header = read_gguf(path)
    architecture = header.string(Keys.General.ARCHITECTURE) or ""
    scaling = header.string(Keys.Rope.SCALING_TYPE.format(arch=architecture)) or "none"
    if scaling != "none":
        raise UnsupportedModelError(f"{path.name} scales rotary frequencies ({scaling}), which cannot be read")
    metadata = {key: value for key, value in header.metadata.items() if key not in _LISTS}
    # Where this key is absent, transformers counts the tokens.
    rows = next((info.rows for info in header.tensors if info.name == "token_embd.weight"), 0)
    metadata.setdefault(Keys.LLM.VOCAB_SIZE.format(arch=architecture), uint32(rows))
    head, placed = lay_out([(info.name, info.shape, info.type) for info in header.tensors], metadata)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / path.name).open("wb") as file:
            file.write(head)
            file.truncate(placed.file_bytes)  # a hole in place of the weights: it takes no disk
        try:
            config: PretrainedConfig = AutoConfig.from_pretrained(folder, gguf_file=path.name)
        except (ValueError, KeyError) as e:
            raise UnsupportedModelError(
                f"{path.name} is of architecture {architecture!r}, of which transformers reads no GGUF file; name the "
                f"Hugging Face folder that it was made from instead: {e}"
            ) from e
    _complete(config, header, architecture, path.name)
    return config


def _complete(config: PretrainedConfig, header: Header, architecture: str, file: str) -> None:
    """Set what the file says, where transformers keeps the values of its own models."""
    head_size = header.integer(Keys.Attention.KEY_LENGTH.format(arch=architecture))
    if head_size is not None:
        config.head_dim = head_size
    if architecture not in _LAYERS_SCALED_BY_WIDTH:
        return
    by_width = config.num_hidden_layers == _LAYERS_SCALED_BY_WIDTH[architecture]
    config.query_pre_attn_scalar = config.hidden_size // config.num_attention_heads if by_width else config.head_dim
    for name, key in (
        ("attn_logit_softcapping", Keys.LLM.ATTN_LOGIT_SOFTCAPPING),
        ("final_logit_softcapping", Keys.LLM.FINAL_LOGIT_SOFTCAPPING),
    ):
        setattr(config, name, header.number(key.format(arch=architecture)))
    base = header.number(Keys.Rope.FREQ_BASE_SWA.format(arch=architecture))
    if base not in (None, _SLIDING_ROPE_BASE):
        raise UnsupportedModelError(f"{file} rotates sliding layers by {base}, expected {_SLIDING_ROPE_BASE}")


def load_gguf_weights(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a GGUF file, in evaluation mode.

    Raises:
        UnsupportedModelError: Tensors are missing, or not those of its architecture.
    """
    config, header = load_gguf_config(path), read_gguf(path)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    architecture = header.string(Keys.General.ARCHITECTURE) or ""
    names = _names(model, architecture, config.num_hidden_layers)
    mapped = np.memmap(path, np.uint8, mode="r")
    state = {}
    for info in header.tensors:
        if info.name not in names:
            raise UnsupportedModelError(f"{path.name} has the tensor {info.name}, which is unknown for {architecture}")
        weights = torch.from_numpy(_widened(mapped, info))
        state[names[info.name]] = _as_transformers(weights, names[info.name], architecture, config).to(dtype)
    try:
        missing, _ = model.load_state_dict(state, strict=False)
    except RuntimeError as e:
        raise UnsupportedModelError(f"{path.name} has tensors of other shapes than its metadata say: {e}") from e
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if left := sorted(set(missing) - tied):
        raise UnsupportedModelError(f"{path.name} lacks {len(left)} tensors, the first is {left[0]}")
    model.tie_weights()
    return model.eval()


def _names(model: PreTrainedModel, architecture: str, layers: int) -> dict[str, str]:
    """Names in transformers by names in a GGUF file."""
    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    mapping = get_tensor_name_map(kinds[architecture], layers)
    found = {}
    for name in model.state_dict():
        stem, suffix = name.rsplit(".", 1)
        if (gguf := mapping.get_name(stem)) is not None:
            found[f"{gguf}.{suffix}"] = name
    return found


def _widened(mapped: NDArray[np.uint8], info: TensorInfo) -> NDArray[np.float32]:
    raw = np.asarray(mapped[info.offset : info.offset + info.nbytes])
    if info.type is GGMLQuantizationType.F32:
        return raw.view(np.float32).reshape(info.shape).copy()
    try:
        return dequantize(raw.reshape(*info.shape[:-1], info.row_bytes), info.type).astype(np.float32, copy=False)
    except NotImplementedError as e:
        raise UnsupportedModelError(f"tensor {info.name} is of type {info.type.name}, which cannot be read") from e


def _as_transformers(weights: Tensor, name: str, architecture: str, config: PretrainedConfig) -> Tensor:
    """Undo what conversion to GGUF changed, beside the names."""
    if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = config.num_attention_heads if name.endswith("q_proj.weight") else config.num_key_value_heads
        # Rows of a head: (size / 2, 2), neighbours rotate together -> (2, size / 2), halves rotate together.
        return weights.reshape(heads, -1, 2, weights.shape[1]).transpose(1, 2).reshape(weights.shape)
    if architecture in _LAYERS_SCALED_BY_WIDTH and name.endswith("norm.weight"):
        return weights - 1.0
    return weights
