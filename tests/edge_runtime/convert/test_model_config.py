"""Values of a `config.json` have the types that they must have."""

import pytest

from edge_runtime.convert.model_config import ModelConfig
from edge_runtime.errors import ConversionError

CONFIG = ModelConfig({"layers": 2, "eps": 1e-5, "name": "llama", "nothing": None, "yes": True, "zero": 0})


def test_values_and_defaults() -> None:
    assert (CONFIG.whole("layers"), CONFIG.whole("absent", 3), CONFIG.whole("nothing", 4)) == (2, 3, 4)
    assert (CONFIG.number("eps"), CONFIG.number("layers"), CONFIG.number("absent", 0.5)) == (1e-5, 2.0, 0.5)
    CONFIG.expect("name", "llama", "mistral")
    CONFIG.expect("absent", False, None)


@pytest.mark.parametrize("key", ["absent", "eps", "name", "yes", "zero"])
def test_what_is_no_whole_number_above_zero_is_refused(key: str) -> None:
    with pytest.raises(ConversionError, match=f"{key} must be a positive whole number"):
        CONFIG.whole(key)


@pytest.mark.parametrize("key", ["absent", "name", "yes", "zero"])
def test_what_is_no_number_above_zero_is_refused(key: str) -> None:
    with pytest.raises(ConversionError, match=f"{key} must be a positive number"):
        CONFIG.number(key)


def test_setting_that_is_not_supported_names_those_that_are() -> None:
    with pytest.raises(ConversionError, match="name = 'llama' is not supported; expected 'gpt' or None"):
        CONFIG.expect("name", "gpt", None)
