"""Fixtures of the tests that update a device in a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge_runtime.updates.device_scene import Scene, prepared_scene


@pytest.fixture(scope="module")
def scene(tiny_base: Path, tiny_digest: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """What each test begins with, and what it is to end with."""
    with prepared_scene(tiny_base, tiny_digest, tmp_path_factory.mktemp("scene")) as scene:
        yield scene
