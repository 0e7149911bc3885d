"""The probe scores what a merged model would, in the words of the edge model's own turns."""

import math

import numpy as np
import pytest
import torch

from cloud_service.generator import load_generator
from cloud_service.generator.chat_format import answer_ids, question_ids
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.probe import TorchProbe
from cloud_service.task import Example
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, contract_of
from loragen.contract.lora import Lora
from tests.cloud_service.generator.tiny import Pair, merge_lora, random_model, tokenizer

EXAMPLES = [Example("wake me at seven", "set_alarm"), Example("ünï", "x"), Example("nothing", "")]


def random_lora() -> Lora:
    shape, random = edge_shape(random_model("qwen2").config), np.random.default_rng(0)
    factors = {}
    for layer, projection in shape.blocks():
        size_in, size_out = shape.in_out(projection)
        a, b = (random.standard_normal(size).astype(np.float16) for size in ((2, size_in), (size_out, 2)))
        factors[layer, projection] = (a, b)
    return Lora(shape, factors)


def test_likelihood_is_that_of_the_whole_answer_with_its_end() -> None:
    model, words = random_model("qwen2"), tokenizer()
    expected = []
    for example in EXAMPLES:
        question, answer = question_ids(words, example.input), answer_ids(words, example.output)
        assert answer[-1] == words.eos_token_id
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([question + answer])).logits[0].log_softmax(-1)
        places = range(len(question) - 1, len(question) + len(answer) - 1)
        expected.append(sum(logits[place, token].item() for place, token in zip(places, answer, strict=True)))
    scores = TorchProbe(model, words).score(EXAMPLES, None)
    assert scores.log_likelihood == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_answer_is_exact_when_each_of_its_tokens_is_the_likeliest() -> None:
    """A head that, after this question, makes the end the only likely token."""
    model, words = random_model("qwen2"), tokenizer()
    question = question_ids(words, "say nothing")
    with torch.no_grad():
        state = model.get_decoder()(input_ids=torch.tensor([question])).last_hidden_state[0, -1]
        model.lm_head.weight.zero_()
        model.lm_head.weight[words.eos_token_id] = state
    probe = TorchProbe(model, words)
    assert probe.score([Example("say nothing", "")], None).exact_match == 1
    assert probe.score([Example("say nothing", "a")], None).exact_match == 0
    assert probe.score([Example("say nothing", ""), Example("say nothing", "a")], None).exact_match == 0.5


def test_score_under_a_lora_is_that_of_the_merged_model_and_leaves_the_base_as_it_was() -> None:
    model, words, lora = random_model("qwen2"), tokenizer(), random_lora()
    probe = TorchProbe(model, words)
    base = probe.score(EXAMPLES, None)
    specialized = probe.score(EXAMPLES, lora)
    assert probe.score(EXAMPLES, None) == base
    merged = random_model("qwen2")
    merge_lora(merged, lora)
    assert specialized.log_likelihood == pytest.approx(
        TorchProbe(merged, words).score(EXAMPLES, None).log_likelihood, rel=1e-4
    )
    assert not math.isclose(specialized.log_likelihood, base.log_likelihood, rel_tol=1e-2)


def test_score_under_a_contract_with_codes_is_that_of_the_merged_model_among_the_codes() -> None:
    model, words, lora = random_model("qwen2"), tokenizer(), random_lora()
    answer = AnswerContract("choice", ("set_alarm", "ünknown"), (7, 5))
    examples = [Example("wake me", "set_alarm"), Example("ünï", "ünknown"), Example("sing", "set_alarm")]
    merged = random_model("qwen2")
    merge_lora(merged, lora)
    exact, likelihood = 0, 0.0
    for example in examples:
        with torch.inference_mode():
            logits = merged(input_ids=torch.tensor([question_ids(words, example.input)])).logits[0, -1]
        first, second = logits[7].item(), logits[5].item()
        expected, other = (first, second) if example.output == "set_alarm" else (second, first)
        exact += expected > other
        likelihood -= math.log1p(math.exp(other - expected))
    scores = TorchProbe(model, words).score(examples, lora, answer)
    assert scores.exact_match == exact / 3
    assert scores.log_likelihood == pytest.approx(likelihood / 3, rel=1e-3)


@pytest.mark.parametrize("codes", [(7, 5), (5, 7)])
def test_code_is_exact_when_it_is_the_likeliest_of_the_codes(codes: tuple[int, int]) -> None:
    """The likeliest token of all is the end, as where the model would write another text."""
    model, words = random_model("qwen2"), tokenizer()
    with torch.no_grad():
        state = model.get_decoder()(input_ids=torch.tensor([question_ids(words, "wake me")])).last_hidden_state[0, -1]
        model.lm_head.weight.zero_()
        for token, factor in ((words.eos_token_id, 2), (7, 1)):
            model.lm_head.weight[token] = factor * state
    probe, answer = TorchProbe(model, words), AnswerContract("choice", ("set_alarm", "none"), codes)
    right, wrong = (Example("wake me", answer.choices[codes.index(code)]) for code in (7, 5))
    assert probe.score([right], None, answer).exact_match == 1
    assert probe.score([wrong], None, answer).exact_match == 0
    assert probe.score([right, wrong], None, answer).exact_match == 0.5


def test_answer_is_right_when_what_the_model_prefers_is_not_allowed() -> None:
    """A head that wants the end at once: JSON, a call and a choice are right where the contract leaves nothing else."""
    model, words = random_model("qwen2"), tokenizer()
    end = words.eos_token_id
    with torch.no_grad():
        state = model.get_decoder()(input_ids=torch.tensor([question_ids(words, "go")])).last_hidden_state[0, -1]
        model.lm_head.weight.zero_()
        model.lm_head.weight[end] = 1e-3 * state.sign()
    probe, schema = (
        TorchProbe(model, words),
        {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]},
    )
    held = contract_of({"type": "json", "schema": schema})
    call = contract_of({"type": "tool_calls", "functions": [{"name": "f", "parameters": schema}]})
    choice = AnswerContract("choice", ("x", "y"))
    json_text, call_text = '{"a": "x"}', '{"name": "f", "arguments": {"a": "x"}}'
    for contract, output in ((held, json_text), (call, call_text)):
        assert probe.score([Example("go", output)], None, contract).exact_match == 1
        assert probe.score([Example("go", output)], None).exact_match == 0
        free, likely = (
            probe.score([Example("go", output)], None, each).log_likelihood for each in (TEXT_ANSWER, contract)
        )
        assert free == likely
    assert probe.score([Example("go", '{"a":"x"}')], None, held).exact_match == 1, "as a device writes it"
    assert probe.score([Example("go", '{"a": "y"}')], None, held).exact_match == 0
    assert probe.score([Example("go", "z")], None, choice).exact_match == 0


def test_residual_prompt_stands_in_front_of_each_input() -> None:
    """As system message; in a text to write and before a code."""
    words, lora = tokenizer(), random_lora()
    words.chat_template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}>"
    asked: list[list[int]] = []

    class Recording(TorchProbe):
        def _logits(self, ids: list[int], last: int) -> torch.Tensor:
            asked.append(ids)
            return super()._logits(ids, last)

    probe = Recording(random_model("qwen2"), words)
    example, kept = Example("wake me", "x"), "Name a tool."
    code = AnswerContract("choice", ("x", "y"), (7, 5))
    scores = [probe.score([example], lora, answer, kept) for answer in (AnswerContract(), code)]
    probe.score([example], lora)
    question = question_ids(words, "wake me", kept)
    assert words.decode(question) == "[system]Name a tool.[user]wake me>"
    assert asked == [
        question + answer_ids(words, "x"),
        question,
        question_ids(words, "wake me") + answer_ids(words, "x"),
    ]
    assert probe.count_tokens(example, kept) == len(asked[0]) > probe.count_tokens(example) == len(asked[2])
    assert all(math.isfinite(score.log_likelihood) for score in scores)


def test_loaded_generator_brings_the_probe_of_its_edge_model(pair: Pair) -> None:
    probe = load_generator(pair.generator, pair.cloud, pair.edge).load_probe()
    assert probe.max_tokens == 256
    # With a line end behind the question and the end behind the answer.
    assert probe.count_tokens(Example("ab", "c")) == 5
    assert math.isfinite(probe.score(EXAMPLES, None).log_likelihood)
