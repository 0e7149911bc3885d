"""Keys tuned on labelled examples answer those that are held out better, and are what is served."""

from pathlib import Path

import numpy as np
import pytest

from cloud_service.answer.choices import chosen_option
from cloud_service.generator import TorchGenerator, load_generator
from cloud_service.generator.choice_head import ChoiceHeadConfig
from cloud_service.generator.tuner import TorchTuner
from cloud_service.schemas import GenerateLoraBody
from cloud_service.task import Example, TaskDescription
from loragen.contract.assembly import build_bundle
from loragen.contract.bundle import parse_bundle
from tests.cloud_service.generator.tiny import make_pair
from tests.cloud_service.generator.tuning import CHOICE, CHOSEN, CODES, PLAN, ignore, one_pass


def test_keys_are_tuned_and_scores_are_those_of_what_is_served(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    recipe, shown = one_pass(loaded, TaskDescription("When?", CHOSEN[:4], answer=CHOICE)), 4
    refined, report = tuner.refine(recipe, CHOSEN, shown, PLAN, ignore)
    assert (report.tuned, report.kept, report.examples, report.held_out) == ("keys", True, 36, 32)
    assert report.after.right > report.before.right + 0.2
    assert report.after.right > 0.8
    assert refined.answer == recipe.answer
    assert np.array_equal(refined.gates, recipe.gates)

    probe = loaded.load_probe()
    before, after = (parse_bundle(build_bundle(loaded.bank, each)) for each in (recipe, refined))
    held = probe.score(CHOSEN[shown:], before.lora, before.header.answer)
    assert report.before.right == pytest.approx(held.exact_match)
    assert report.before.loss == pytest.approx(-held.log_likelihood, rel=1e-3)
    assert probe.score(CHOSEN, after.lora, after.header.answer).exact_match >= report.after.right


def test_keys_of_calls_are_tuned_beside_the_experts_of_arguments(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    body = GenerateLoraBody.model_validate(
        {
            "description": "Call one of the tools with its arguments.",
            "tools": [
                {"name": name, "parameters": {"type": "object", "properties": {"day": {"type": "string"}}}}
                for name in ("play", "wait")
            ],
        }
    )
    recipe = one_pass(loaded, body.to_request().task)
    assert recipe.answer.kind == "tool_calls"
    assert recipe.gates.any()
    calls = {"now": '{"name": "play", "arguments": {"day": "x"}}', "later": '{"name": "wait", "arguments": {}}'}
    examples = [Example(each.input, calls[each.output]) for each in CHOSEN if each.output in calls]
    refined, report = tuner.refine(recipe, examples, 2, PLAN, ignore)
    assert report.kept
    assert report.after.right > 0.8
    assert np.array_equal(refined.gates, recipe.gates)
    bundle = parse_bundle(build_bundle(loaded.bank, recipe))
    names = [
        Example(each.input, ("play", "wait")[chosen_option(each.output, ("play", "wait")) or 0]) for each in examples
    ]
    held = loaded.load_probe().score(names[2:], bundle.lora, bundle.header.answer)
    assert report.before.right == pytest.approx(held.exact_match)
    assert report.before.loss == pytest.approx(-held.log_likelihood, rel=1e-3)


def test_labels_are_tuned_behind_the_residual_prompt_and_beside_their_experts(tmp_path: Path) -> None:
    head = ChoiceHeadConfig(first_layer=1, rank=12)
    settings = {"choice": head, "codes": CODES, "label_experts": 2, "mix": "deltas", "residual_prompt_tokens": 60}
    pair = make_pair(tmp_path, **settings)
    judging = load_generator(pair.generator, pair.cloud, pair.edge)
    recipe = one_pass(judging, TaskDescription("When is it?", tuple(CHOSEN[:2]), answer=CHOICE))
    assert recipe.residual_prompt == "When is it?", "label experts were trained without examples in front"
    assert recipe.gates.any()
    refined, report = judging.load_tuner().refine(recipe, CHOSEN, 2, PLAN, ignore)
    assert report.kept
    assert (refined.residual_prompt, refined.answer) == (recipe.residual_prompt, recipe.answer)
    bundle = parse_bundle(build_bundle(judging.bank, recipe))
    held = judging.load_probe().score(CHOSEN[2:], bundle.lora, bundle.header.answer, recipe.residual_prompt)
    assert report.before.right == pytest.approx(held.exact_match)
    assert report.before.loss == pytest.approx(-held.log_likelihood, rel=1e-3)


def test_head_of_several_layers_is_not_tuned(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, choice=ChoiceHeadConfig(first_layer=0, rank=2), codes=CODES)
    generator = load_generator(pair.generator, pair.cloud, pair.edge)
    with pytest.raises(ValueError, match="expected the last one alone"):
        generator.load_tuner().refine(
            one_pass(generator, TaskDescription("When?", answer=CHOICE)), CHOSEN, 1, PLAN, ignore
        )
