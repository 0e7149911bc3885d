"""What the tests of the generator share: one thread of torch, and one stored pair of models."""

from collections.abc import Iterator

import pytest

from cloud_service.generator import TorchGenerator, load_generator
from cloud_service.generator.choice_head import ChoiceHeadConfig
from cloud_service.generator.tuner import TorchTuner
from tests.cloud_service.generator.tiny import Pair, make_pair
from tests.cloud_service.generator.tuning import CODES
from tests.torch_threads import one_thread


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A cloud and an edge model with tokenizers, and a generator with random experts, on disk; not to be altered."""
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> TorchGenerator:
    """A generator with a choice head in the last layer and experts for calls."""
    head = ChoiceHeadConfig(first_layer=1, rank=12)
    pair = make_pair(tmp_path_factory.mktemp("pair"), choice=head, codes=CODES, call_experts=2, mix="deltas")
    return load_generator(pair.generator, pair.cloud, pair.edge)


@pytest.fixture(scope="session")
def tuner(loaded: TorchGenerator) -> TorchTuner:
    """The edge model of `loaded`, to be tuned on examples."""
    return loaded.load_tuner()
