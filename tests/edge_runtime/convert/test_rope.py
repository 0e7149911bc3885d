"""Rotary settings of older configurations mean what those of transformers 5 mean."""

import numpy as np
import pytest

from edge_runtime.convert.architectures import describe_model
from edge_runtime.convert.model_config import ModelConfig
from edge_runtime.convert.rope import rope_metadata, rope_parameters
from edge_runtime.errors import ConversionError
from tests.edge_runtime.tiny_models import llama_config, older_config

LLAMA_3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


@pytest.mark.parametrize("kind_key", ["type", "rope_type"])
def test_rope_scaling_of_an_older_llama(kind_key):
    new = llama_config(rope_parameters={"rope_type": "llama3", "rope_theta": 500_000.0, **LLAMA_3}).to_dict()
    old = older_config(new, rope_theta=500_000.0, rope_scaling={kind_key: "llama3", **LLAMA_3})
    expected, found = describe_model(new), describe_model(old)
    assert found.metadata == expected.metadata
    assert np.array_equal(found.rope_factors, expected.rope_factors)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope scaling 'yarn' is not supported"),
        ({"partial_rotary_factor": 0.5}, "partial rotary embeddings"),
        ({"rope_scaling": {"type": "linear"}}, "factor must be a positive number, found None"),
    ],
)
def test_scaling_that_llama_cpp_does_not_reproduce_is_refused(values: dict[str, object], message: str) -> None:
    config = ModelConfig(values)
    with pytest.raises(ConversionError, match=message):
        rope_metadata(config, rope_parameters(config), 64)
