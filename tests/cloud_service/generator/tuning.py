"""Helper: examples that a tiny edge model can be tuned on, and the recipe of one pass."""

from cloud_service.generation import Asked
from cloud_service.generator import TorchGenerator
from cloud_service.refine.held_out import distinct
from cloud_service.refinement import RefinePlan
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import AnswerContract
from loragen.contract.recipe import Recipe

CODES = tuple(range(40, 105))
PLAN = RefinePlan(steps=20, budget_seconds=60)
CHOICE = AnswerContract("choice", ("now", "later", "never"))
CHOSEN = distinct(
    [
        Example(f"{verb} the {thing}{ending}", answer)
        for verb in ("play", "stop", "send")
        for thing in ("song", "film", "mail", "door")
        for ending, answer in (("!!!", "now"), ("???", "later"), ("...", "never"))
    ]
)
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WRITTEN = [Example(f"say {word}", "route it") for word in WORDS]


def one_pass(loaded: TorchGenerator, task: TaskDescription) -> Recipe:
    (generation,) = loaded.generate([Asked.of(task)])
    return generation.recipe(loaded.info, loaded.bank.digest)


def ignore(done: int, total: int) -> None:
    assert 0 <= done <= total
