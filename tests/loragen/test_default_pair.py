"""The default pair is in the repository, and its models are those that its generator is for."""

from pathlib import Path

from loragen.client import ModelPair
from loragen.default_pair import DEFAULT_PAIR


def test_models_are_those_that_the_generator_names(root: Path) -> None:
    found = ModelPair.at(root / DEFAULT_PAIR.folder)
    assert found.generator == root / DEFAULT_PAIR.generator
    assert found.cloud_model == DEFAULT_PAIR.cloud_model
    assert found.edge_model == DEFAULT_PAIR.edge_model
