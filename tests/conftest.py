"""Fixtures of every test."""

import os
from pathlib import Path

import pytest

# Read when huggingface_hub is imported, so before any test: a model that is nowhere must not be looked for online.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def root(pytestconfig: pytest.Config) -> Path:
    """The root of the repository."""
    return pytestconfig.rootpath
