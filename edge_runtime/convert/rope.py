"""Rules: rotary position embeddings, from a `config.json` to the values that llama.cpp reads."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import Keys, RopeScalingType

from edge_runtime.convert.model_config import ModelConfig
from edge_runtime.errors import ConversionError
from loragen.contract.gguf_header import Value, float32, text


def rope_parameters(config: ModelConfig, theta: float = 10_000.0) -> dict[str, Any]:
    """Rotary settings, from transformers 5 (`rope_parameters`) or earlier (`rope_theta`, `rope_scaling`)."""
    scaling = config.values.get("rope_scaling") or {}
    found: dict[str, Any] = {"rope_theta": config.values.get("rope_theta") or theta, "rope_type": "default"}
    if "type" in scaling:
        found["rope_type"] = scaling["type"]
    found.update({key: value for key, value in scaling.items() if value is not None})
    found.update({k: v for k, v in (config.values.get("rope_parameters") or {}).items() if v is not None})
    return found


def rope_metadata(
    config: ModelConfig, parameters: Mapping[str, Any], head_size: int
) -> tuple[dict[str, Value], npt.NDArray[np.float32] | None]:
    """Values for the GGUF header, and the divisors of the frequencies where they are rescaled one by one.

    Args:
        config: Of the model.
        parameters: As `rope_parameters` gives them.
        head_size: 0 for a family in which llama.cpp knows no rescaling of single frequencies.

    Raises:
        ConversionError: A scaling that llama.cpp would not reproduce.
    """
    rope = ModelConfig(parameters)
    values = {Keys.Rope.FREQ_BASE: float32(rope.number("rope_theta"))}
    if rope.values.get("partial_rotary_factor", 1.0) != 1.0 or config.values.get("partial_rotary_factor", 1.0) != 1.0:
        raise ConversionError("config.json: partial rotary embeddings are not supported")
    kind = rope.values.get("rope_type", "default")
    if kind == "linear":
        values[Keys.Rope.SCALING_TYPE] = text(RopeScalingType.LINEAR.value)
        values[Keys.Rope.SCALING_FACTOR] = float32(rope.number("factor"))
    elif kind == "llama3" and head_size:
        return values, _llama3_factors(rope, head_size)
    elif kind != "default":
        raise ConversionError(
            f"config.json: rope scaling {kind!r} is not supported; default, linear or llama3 expected"
        )
    return values, None


def _llama3_factors(rope: ModelConfig, head_size: int) -> npt.NDArray[np.float32]:
    """Divisors of the rotary frequencies, (head size / 2) float32.

    A frequency that turns less than `low_freq_factor` times within the original context is divided by `factor`, one
    that turns more than `high_freq_factor` times stays, and those between are interpolated.
    """
    factor, original = rope.number("factor"), rope.number("original_max_position_embeddings")
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    exponents = np.arange(0, head_size, 2, dtype=np.float64) / head_size
    rotations = original * rope.number("rope_theta") ** -exponents / (2 * np.pi)
    smooth = np.clip((rotations - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - smooth) / factor + smooth)).astype(np.float32)
