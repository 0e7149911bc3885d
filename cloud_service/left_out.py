"""Rule: a task without each of its examples in turn, so that what is left out can try a LoRA made of the rest.

- Examples of equal inputs are left out together: the one would tell the answer of the other.
- An example is left out of everything that the generator reads. What an answer may look like stays as all examples have
  it, because that is no answer.
- Of many examples some are left out, spread over all of them: after these, more would tell little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cloud_service.answer.choices import chosen_option
from cloud_service.answer.contract import find_answer
from cloud_service.errors import InvalidRequestError
from cloud_service.limits import MAX_LEFT_OUT, MIN_LEFT_OUT
from cloud_service.task import Example, TaskDescription


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A task with some of its examples apart.

    Attributes:
        task: Without them.
        examples: Of one input, each different output once, by their places in the request, such as `examples.0`.
    """

    task: TaskDescription
    examples: Mapping[str, Example]


def leave_each_out(task: TaskDescription, *, has_codes: bool) -> tuple[LeftOut, ...]:
    """The task without each of its inputs, at most `MAX_LEFT_OUT` of them.

    Args:
        task: With examples.
        has_codes: Whether closed sets are answered by codes. Then the output expected is the option that an example
            chooses: of calls, the first function's name.

    Raises:
        InvalidRequestError: There are fewer than `MIN_LEFT_OUT` different inputs, or an example chooses no option.
    """
    task = task.normalized()
    answer = find_answer(task)
    options = answer.options if has_codes and len(answer.options) > 1 else ()
    by_input: dict[str, dict[str, Example]] = {}
    for number, example in enumerate(task.examples):
        place, expected = f"examples.{number}", example
        if options:
            chosen = chosen_option(example.output, options)
            if chosen is None:
                raise InvalidRequestError(
                    f"{place}.output: expected one of the {len(options)} choices, found another",
                    "without probe_examples, the answer lists them as answer.choices",
                    code="example_not_a_choice",
                )
            expected = replace(example, output=options[chosen])
        same = by_input.setdefault(example.input, {})
        if expected not in same.values():
            same[place] = expected
    count = len(by_input)
    if count < MIN_LEFT_OUT:
        raise InvalidRequestError(
            f"examples: expected at least {MIN_LEFT_OUT} different inputs with probe_examples, found {count}",
            "send more examples, or inputs of your own as probe",
            code="too_few_examples",
        )
    inputs, most = list(by_input), min(count, MAX_LEFT_OUT)
    return tuple(
        LeftOut(
            replace(task, examples=tuple(each for each in task.examples if each.input != text), answer=answer),
            by_input[text],
        )
        for text in (inputs[number * count // most] for number in range(most))
    )
