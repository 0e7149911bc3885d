"""Values between the service and a generator."""

import pytest

from cloud_service.generation import Confidence


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_confidence_outside_of_its_range_cannot_be_made(score: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        Confidence(score, is_familiar=True)
