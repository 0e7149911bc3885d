"""Tasks of the suite `calls-unseen`: call the right one of a few functions, with all its arguments.

Functions are those of services that training never draws. There is no practice split for an oracle, because messages to
a function would show the function itself.
"""

import random
from dataclasses import replace

from cloud_service.task import Example
from training.data.corpus import Split
from training.data.families.function_calls import FunctionCalls, functions_of
from training.evaluation.suites.tasks import MOST_EXAMPLES, SuiteSizes, SuiteTask


def call_tasks(rng: random.Random, family: FunctionCalls, split: Split, sizes: SuiteSizes) -> list[SuiteTask]:
    """Sets of functions drawn anew; half of the descriptions have examples."""
    tasks = []
    for number in range(sizes.tasks if functions_of(family.functions, split) else 0):
        episode = family.draw(rng, split, 2 * sizes.inputs + MOST_EXAMPLES)
        instances = list({instance.input: instance for instance in episode.instances}.values())
        asked, others = instances[: sizes.inputs], instances[sizes.inputs :]
        shown = others[: rng.randint(1, MOST_EXAMPLES)] if number % 2 else []
        examples = tuple(Example(each.input, each.output) for each in shown)
        description = replace(episode.task, examples=examples)
        tasks.append(SuiteTask(f"call/{number}", description, tuple(asked), (), metric="call"))
    return tasks
