"""Settings of a generator."""

import pytest

from cloud_service.generator import CheckpointError
from tests.cloud_service.generator.tiny import generator_config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gating": "sparse"}, "gating is 'sparse', expected topk_softmax or dense"),
        ({"norm": "rms"}, "norm is 'rms'"),
        ({"mix": "outputs"}, "mix is 'outputs'"),
        ({"groups": 2}, "groups is 2, expected 1 or 3"),
        ({"top_k": 6}, "top_k is 6, expected 1 to 5"),
        ({"top_k": 0}, "top_k is 0"),
        ({"rank": 0}, "rank is 0, expected more than 0"),
        ({"alpha": -1.0}, "alpha is -1.0"),
        ({"adapter_rank": -1}, "adapter_rank is -1"),
    ],
)
def test_settings_without_a_meaning_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        generator_config(**changes)
