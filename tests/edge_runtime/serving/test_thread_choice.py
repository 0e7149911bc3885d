"""As many threads as pay."""

import pytest

from edge_runtime.serving.thread_choice import best_threads


@pytest.mark.parametrize(
    ("seconds", "best", "measured"),
    [
        ({8: 1.0, 4: 1.9}, 8, 2),  # equal cores: half as many take twice as long
        ({8: 1.0, 4: 0.7, 2: 1.2}, 4, 3),  # four fast cores and four slow ones
        ({4: 1.0, 2: 0.7, 1: 0.4}, 1, 3),  # a tiny model
        ({4: 1.0, 2: 0.95, 1: 1.2}, 4, 3),  # nothing clear
        ({6: 1.0, 3: 0.5, 1: 0.9}, 3, 3),
        ({1: 1.0}, 1, 0),
    ],
)
def test_fastest_count_is_taken_when_it_clearly_is(seconds: dict[int, float], best: int, measured: int) -> None:
    asked = []

    def seconds_with(threads: int) -> float:
        asked.append(threads)
        return seconds[threads]

    assert best_threads(max(seconds), seconds_with) == best
    assert len(asked) == measured
