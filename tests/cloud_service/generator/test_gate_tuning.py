"""Gates tuned on labelled examples answer those that are held out better, and are what is served."""

import numpy as np

from cloud_service.generator import TorchGenerator
from cloud_service.generator.tuner import TorchTuner
from cloud_service.refine.held_out import hold_out
from cloud_service.task import TaskDescription
from loragen.contract.assembly import assemble, build_bundle
from loragen.contract.recipe import encode_recipe, parse_recipe
from tests.cloud_service.generator.tuning import PLAN, WRITTEN, ignore, one_pass


def test_gates_are_tuned_and_the_recipe_builds_what_was_scored(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    recipe = one_pass(loaded, TaskDescription("Say it.", tuple(WRITTEN[:2])))
    refined, report = tuner.refine(recipe, WRITTEN, 2, PLAN, ignore)
    assert (report.tuned, report.kept, report.examples, report.held_out) == ("gates", True, 10, 2)
    assert report.after.loss < 0.95 * report.before.loss
    assert 0 < report.steps <= 20
    assert np.array_equal(refined.gates != 0, recipe.gates != 0)
    again = parse_recipe(encode_recipe(refined))
    assert build_bundle(loaded.bank, again) == build_bundle(loaded.bank, refined)
    held = [WRITTEN[number] for number in hold_out(WRITTEN, 2, lambda _: 1)]
    lora = assemble(loaded.bank, refined.gates)
    score = loaded.load_probe().score(held, lora, residual_prompt=recipe.residual_prompt)
    assert report.after.right == score.exact_match
