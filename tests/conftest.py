"""Fixtures of every test."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read when huggingface_hub is imported, so before any test: a model that is nowhere must not be looked for online.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def root(pytestconfig: pytest.Config) -> Path:
    """The root of the repository."""
    return pytestconfig.rootpath


@pytest.fixture(scope="module", autouse=True)
def _own_leaks() -> Iterator[None]:
    """What a file's tests leave unclosed fails there, not in another file when the memory is collected by chance."""
    yield
    gc.collect()
