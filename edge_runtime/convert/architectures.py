"""Model families: from a Hugging Face `config.json` to what llama.cpp needs to run the same arithmetic.

One `Architecture` says, for one concrete model, which metadata go into the GGUF header, which tensors there must be,
and what happens to each on the way. A configuration that llama.cpp would run differently is refused.

What differs between the families:
- Llama: llama.cpp rotates interleaved pairs, Hugging Face rotates halves, so the rows of q and k are reordered.
  Mistral is a Llama. SmolLM3 does not rotate in each fourth layer. Granite multiplies embeddings, attention, residuals
  and logits by numbers of its own.
- OLMo 2: norms behind attention and feed-forward layers alone, and over all heads of q and k together.
- Qwen 2: biases on q, k, v. Qwen 3: norms on the heads of q and k.
- Gemma 2 and 3: norms are stored as (weight - 1), four norms a layer, sliding windows, soft-caps (2), head norms (3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES, Keys
from gguf.tensor_mapping import get_tensor_name_map

from edge_runtime.convert.model_config import ModelConfig
from edge_runtime.convert.rope import rope_metadata, rope_parameters
from edge_runtime.errors import ConversionError
from loragen.contract.gguf_adapter import paired_rows
from loragen.contract.gguf_header import Value, float32, uint32

_ATTENTION = tuple(f"self_attn.{x}_proj" for x in "qkvo")
_FEED_FORWARD = tuple(f"mlp.{x}_proj" for x in ("gate", "up", "down"))
_PLAIN_NORMS = ("input_layernorm", "post_attention_layernorm")
_GEMMA_NORMS = (*_PLAIN_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")
_BEHIND_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
_HEAD_NORMS = ("self_attn.q_norm", "self_attn.k_norm")

# llama.cpp scales attention by 1/sqrt(head size) except in the two 27B models, which it knows by their layer count.
_LAYERS_SCALED_BY_WIDTH = {MODEL_ARCH.GEMMA2: 46, MODEL_ARCH.GEMMA3: 62}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One concrete model, described for llama.cpp.

    Attributes:
        name: llama.cpp's name of the architecture.
        layers: Number of decoder layers.
        vocabulary: Rows of the embedding.
        metadata: Values for the GGUF header, keys included.
        tensors: Hugging Face name to GGUF name, of every tensor that must be there.
        ignored: Hugging Face names that may be there and are not needed (the output matrix of a tied model).
        row_heads: Hugging Face name to a number of heads: rows of that tensor are reordered within each head.
        norm_offset: Added to every norm weight.
        rope_factors: Extra tensor `rope_freqs.weight` (head size / 2) float32; None when frequencies are not rescaled.
    """

    name: str
    layers: int
    vocabulary: int
    metadata: Mapping[str, Value]
    tensors: Mapping[str, str]
    ignored: frozenset[str]
    row_heads: Mapping[str, int]
    norm_offset: float
    rope_factors: npt.NDArray[np.float32] | None

    def row_order(self, name: str, rows: int) -> npt.NDArray[np.int64] | None:
        """For each row to write, the row of the checkpoint to take; None when they stay in order."""
        heads = self.row_heads.get(name)
        if heads is None:
            return None
        return paired_rows(rows, heads)


def describe_model(config: Mapping[str, Any]) -> Architecture:
    """Describe the model of a `config.json`.

    Raises:
        ConversionError: Another architecture, or a setting that llama.cpp would not reproduce.
    """
    kind = config.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise ConversionError(
            f"architecture {kind!r} is not supported; expected one of {', '.join(sorted(FAMILIES))}",
            "a published GGUF of the model, best in F16, BF16 or Q8_0, can be the base as it is, with "
            "LORAGEN_EDGE_BASE_MODEL or loragen-edge merge FILE.gguf, and LORAGEN_EDGE_ADMIT_BASE_DIGEST or "
            "--admit-digest for bundles that are bound to a digest; its layers must have gate, up and down projections "
            "of their own (Phi-3 joins them)",
        )
    return family(ModelConfig(config))


def _common(
    config: ModelConfig,
    arch: MODEL_ARCH,
    *,
    norms: tuple[str, ...],
    head_size: int | None = None,
    biases: tuple[str, ...] = (),
    interleaved: bool = False,
    norm_offset: float = 0.0,
    tied: bool = False,
    extra: Mapping[str, Value] | None = None,
    rope_factors: npt.NDArray[np.float32] | None = None,
) -> Architecture:
    layers, heads = config.whole("num_hidden_layers"), config.whole("num_attention_heads")
    kv_heads, hidden = config.whole("num_key_value_heads", heads), config.whole("hidden_size")
    size = head_size or hidden // heads
    values = {
        Keys.LLM.CONTEXT_LENGTH: uint32(config.whole("max_position_embeddings")),
        Keys.LLM.EMBEDDING_LENGTH: uint32(hidden),
        Keys.LLM.BLOCK_COUNT: uint32(layers),
        Keys.LLM.FEED_FORWARD_LENGTH: uint32(config.whole("intermediate_size")),
        Keys.Attention.HEAD_COUNT: uint32(heads),
        Keys.Attention.HEAD_COUNT_KV: uint32(kv_heads),
        Keys.Attention.KEY_LENGTH: uint32(size),
        Keys.Attention.VALUE_LENGTH: uint32(size),
        Keys.Attention.LAYERNORM_RMS_EPS: float32(config.number("rms_norm_eps")),
        Keys.Rope.DIMENSION_COUNT: uint32(size),
        Keys.LLM.VOCAB_SIZE: uint32(config.whole("vocab_size")),
        **(extra or {}),
    }
    blocks = [f"model.layers.{layer}." for layer in range(layers)]
    names = ["model.embed_tokens.weight", "model.norm.weight"]
    for block in blocks:
        names += [f"{block}{module}.weight" for module in (*_ATTENTION, *_FEED_FORWARD, *norms)]
        names += [f"{block}{module}.bias" for module in biases]
    turned = {"self_attn.q_proj": heads, "self_attn.k_proj": kv_heads} if interleaved else {}
    output = "lm_head.weight"
    is_tied = bool(config.values.get("tie_word_embeddings", tied))
    gguf_names = get_tensor_name_map(arch, layers)
    return Architecture(
        name=MODEL_ARCH_NAMES[arch],
        layers=layers,
        vocabulary=config.whole("vocab_size"),
        metadata={key.format(arch=MODEL_ARCH_NAMES[arch]): value for key, value in values.items()},
        tensors={
            name: str(gguf_names.get_name(name, try_suffixes=(".weight", ".bias")))
            for name in (names if is_tied else [*names, output])
        },
        ignored=frozenset([output]) if is_tied else frozenset(),
        row_heads={f"{block}{module}.weight": count for block in blocks for module, count in turned.items()},
        norm_offset=norm_offset,
        rope_factors=rope_factors,
    )


def _llama(config: ModelConfig) -> Architecture:
    return _like_llama(config, MODEL_ARCH.LLAMA)


def _like_llama(config: ModelConfig, arch: MODEL_ARCH, more: Mapping[str, Value] | None = None) -> Architecture:
    config.expect("hidden_act", "silu", None)
    config.expect("attention_bias", False, None)
    config.expect("mlp_bias", False, None)
    head_size = config.whole("head_dim", config.whole("hidden_size") // config.whole("num_attention_heads"))
    extra, factors = rope_metadata(config, rope_parameters(config), head_size)
    return _common(
        config,
        arch,
        norms=_PLAIN_NORMS,
        head_size=head_size,
        interleaved=True,
        extra=extra | dict(more or {}),
        rope_factors=factors,
    )


def _mistral(config: ModelConfig) -> Architecture:
    # llama.cpp attends to the whole context; a window that is as long changes nothing.
    window = config.values.get("sliding_window")
    if window is not None and config.whole("sliding_window") < config.whole("max_position_embeddings"):
        raise ConversionError(
            f"config.json: sliding_window = {window} is shorter than the context, which llama.cpp does not reproduce",
            "set max_position_embeddings to the window: beyond it the model was not trained to attend to all",
        )
    return _like_llama(config, MODEL_ARCH.LLAMA)


def _smollm3(config: ModelConfig) -> Architecture:
    config.expect("use_sliding_window", False, None)
    layers = config.whole("num_hidden_layers")
    rotates = config.values.get("no_rope_layers") or [1] * layers  # 1 where it does, whatever the name says
    if list(rotates) != [int((layer + 1) % 4 != 0) for layer in range(layers)]:
        raise ConversionError("config.json: no_rope_layers must be each fourth layer, as llama.cpp has it")
    return _like_llama(config, MODEL_ARCH.SMOLLM3)


def _granite(config: ModelConfig) -> Architecture:
    multipliers = {
        Keys.LLM.EMBEDDING_SCALE: "embedding_multiplier",
        Keys.LLM.RESIDUAL_SCALE: "residual_multiplier",
        Keys.LLM.LOGIT_SCALE: "logits_scaling",
        Keys.Attention.SCALE: "attention_multiplier",
    }
    more = {key: float32(config.number(name, 1.0)) for key, name in multipliers.items()}
    return _like_llama(config, MODEL_ARCH.GRANITE, more)


def _olmo2(config: ModelConfig) -> Architecture:
    config.expect("hidden_act", "silu", None)
    config.expect("attention_bias", False, None)
    extra, factors = rope_metadata(config, rope_parameters(config), 0)
    return _common(config, MODEL_ARCH.OLMO2, norms=(*_BEHIND_NORMS, *_HEAD_NORMS), extra=extra, rope_factors=factors)


def _qwen2(config: ModelConfig) -> Architecture:
    config.expect("hidden_act", "silu", None)
    config.expect("use_sliding_window", False, None)
    extra, factors = rope_metadata(config, rope_parameters(config), 0)
    biases = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    return _common(config, MODEL_ARCH.QWEN2, norms=_PLAIN_NORMS, biases=biases, extra=extra, rope_factors=factors)


def _qwen3(config: ModelConfig) -> Architecture:
    config.expect("hidden_act", "silu", None)
    config.expect("attention_bias", False, None)
    config.expect("use_sliding_window", False, None)
    extra, factors = rope_metadata(config, rope_parameters(config), 0)
    return _common(
        config,
        MODEL_ARCH.QWEN3,
        norms=(*_PLAIN_NORMS, *_HEAD_NORMS),
        head_size=config.whole("head_dim", 128),
        extra=extra,
        rope_factors=factors,
    )


def _gemma2(config: ModelConfig) -> Architecture:
    extra, _ = rope_metadata(config, rope_parameters(config), 0)
    window = _sliding_window(config, every=2)
    extra[Keys.LLM.ATTN_LOGIT_SOFTCAPPING] = float32(config.number("attn_logit_softcapping"))
    extra[Keys.LLM.FINAL_LOGIT_SOFTCAPPING] = float32(config.number("final_logit_softcapping"))
    return _common(
        config,
        MODEL_ARCH.GEMMA2,
        norms=_GEMMA_NORMS,
        head_size=_gemma_head_size(config, MODEL_ARCH.GEMMA2),
        norm_offset=1.0,
        tied=True,
        extra=extra | window,
    )


def _gemma3(config: ModelConfig) -> Architecture:
    config.expect("attn_logit_softcapping", None)
    config.expect("final_logit_softcapping", None)
    config.expect("use_bidirectional_attention", False, None)
    rope = config.values.get("rope_parameters") or {}
    if "full_attention" in rope:
        full, local = rope["full_attention"], rope.get("sliding_attention") or {}
    else:
        full, local = rope_parameters(config, 1_000_000.0), {}
    extra, _ = rope_metadata(config, full, 0)
    base = local.get("rope_theta") or config.number("rope_local_base_freq", 10_000.0)
    if local.get("rope_type", "default") != "default":
        raise ConversionError(f"config.json: rope scaling {local['rope_type']!r} of sliding layers is not supported")
    extra[Keys.Rope.FREQ_BASE_SWA] = float32(float(base))
    return _common(
        config,
        MODEL_ARCH.GEMMA3,
        norms=(*_GEMMA_NORMS, *_HEAD_NORMS),
        head_size=_gemma_head_size(config, MODEL_ARCH.GEMMA3),
        norm_offset=1.0,
        tied=True,
        extra=extra | _sliding_window(config, every=6),
    )


def _gemma_head_size(config: ModelConfig, arch: MODEL_ARCH) -> int:
    config.expect("attention_bias", False, None)
    activation = config.values.get("hidden_activation") or config.values.get("hidden_act")
    if activation != "gelu_pytorch_tanh":
        raise ConversionError(f"config.json: activation {activation!r} is not supported for {MODEL_ARCH_NAMES[arch]}")
    size = config.whole("head_dim", 256)
    by_width = config.whole("num_hidden_layers") == _LAYERS_SCALED_BY_WIDTH[arch]
    expected = config.whole("hidden_size") / config.whole("num_attention_heads") if by_width else size
    scalar = config.number("query_pre_attn_scalar", 256)
    if scalar != expected:
        raise ConversionError(f"config.json: query_pre_attn_scalar must be {expected} for llama.cpp, found {scalar}")
    return size


def _sliding_window(config: ModelConfig, every: int) -> dict[str, Value]:
    """Window of the sliding layers; in llama.cpp the last of each `every` layers attends to the whole context."""
    layers = config.whole("num_hidden_layers")
    kinds = config.values.get("layer_types")
    expected = ["sliding_attention" if (layer + 1) % every else "full_attention" for layer in range(layers)]
    pattern = config.values.get("sliding_window_pattern", every)
    if pattern != every or (kinds is not None and list(kinds) != expected):
        raise ConversionError(f"config.json: layer_types must repeat {every - 1} sliding layers and a full one")
    return {Keys.Attention.SLIDING_WINDOW: uint32(config.whole("sliding_window"))}


FAMILIES = {
    "granite": _granite,
    "llama": _llama,
    "mistral": _mistral,
    "olmo2": _olmo2,
    "smollm3": _smollm3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
}
"""By `model_type`, what describes a model of that family; the names are those of `loragen.contract.edge_families`."""
