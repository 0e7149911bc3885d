"""The error tree of the generator."""

from cloud_service.generator import CheckpointError, GeneratorError, UnsupportedModelError


def test_errors_of_the_generator_have_one_base() -> None:
    assert issubclass(CheckpointError, GeneratorError)
    assert issubclass(UnsupportedModelError, GeneratorError)
    assert GeneratorError("message").hint == ""
