"""Errors of the generator.

GeneratorError
├── UnsupportedModelError   a model whose layout the generator cannot read or adapt
└── CheckpointError         a checkpoint that is incomplete, altered, or made for another model
"""


class GeneratorError(Exception):
    """A generator cannot be built, loaded or stored.

    Attributes:
        hint: What to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnsupportedModelError(GeneratorError):
    """A model whose layout the generator cannot read or adapt."""


class CheckpointError(GeneratorError):
    """A checkpoint that is incomplete, altered, or made for another model."""
