"""What the tests of the generator share: one thread of torch, and one stored pair of models."""

from collections.abc import Iterator

import pytest
import torch

from tests.cloud_service.generator.tiny import Pair, make_pair


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny shapes gain nothing from threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A cloud and an edge model with tokenizers, and a generator with random experts, on disk; not to be altered."""
    return make_pair(tmp_path_factory.mktemp("pair"))
