"""Values: the settings of a Hugging Face `config.json`, of the types that they must have."""

from collections.abc import Mapping
from typing import Any

from edge_runtime.errors import ConversionError


class ModelConfig:
    """Typed access to a `config.json`; absent or mistyped values are conversion errors."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number above 0."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConversionError(f"config.json: {key} must be a positive whole number, found {value!r}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number above 0."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            raise ConversionError(f"config.json: {key} must be a positive number, found {value!r}")
        return float(value)

    def expect(self, key: str, *allowed: object) -> None:
        """Return when a value is one of those allowed; None stands for a key that is not there."""
        value = self.values.get(key)
        if value not in allowed:
            raise ConversionError(
                f"config.json: {key} = {value!r} is not supported; expected {' or '.join(repr(a) for a in allowed)}"
            )
