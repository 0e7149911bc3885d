"""When a refinement is kept, and how many examples the generator reads."""

import pytest

from cloud_service.refinement import MOST_SHOWN, ExampleScore, example_too_long, shown_examples
from cloud_service.task import Example


def test_more_that_is_right_is_better_and_then_less_loss() -> None:
    score = ExampleScore(0.5, 1.0)
    assert ExampleScore(0.6, 9.0).is_better_than(score)
    assert ExampleScore(0.5, 0.9).is_better_than(score)
    assert not score.is_better_than(score)
    assert not ExampleScore(0.4, 0.1).is_better_than(score)


@pytest.mark.parametrize(("inputs", "shown"), [(3, 0), (4, 1), (8, 2), (100, MOST_SHOWN)])
def test_a_quarter_of_the_different_inputs_is_shown_and_few_of_many(inputs: int, shown: int) -> None:
    examples = [Example(str(number), answer) for number in range(inputs) for answer in ("a", "b")]
    assert shown_examples(examples) == shown


def test_example_is_refused_with_its_number_in_the_request() -> None:
    refused = example_too_long(7, 1024, 2000)
    assert str(refused).startswith("examples.7: expected at most 1024 tokens")
    assert refused.code == "example_too_long"
