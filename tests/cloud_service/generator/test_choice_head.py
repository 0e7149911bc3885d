"""The choice head, from a request with tools to the edge model under the bundle that a device builds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cloud_service.generation import Asked, Generation
from cloud_service.generator import CheckpointError, LoraGenerator, TorchGenerator, load_generator
from cloud_service.generator.checkpoint import load_parameters, read_manifest
from cloud_service.generator.choice_head import ChoiceHead, ChoiceHeadConfig, ChoiceMeanings
from cloud_service.generator.edge import UnmergedLora, edge_shape, lora_factors
from cloud_service.generator.meanings import SentenceEncoder
from cloud_service.generator.pretrained import load_cloud_model
from cloud_service.schemas import GenerateLoraBody
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import AnswerContract
from loragen.contract.assembly import build_bundle
from loragen.contract.bundle import Bundle, parse_bundle
from loragen.contract.recipe import encode_recipe, parse_recipe
from tests.cloud_service.generator.tiny import (
    Pair,
    generator_config,
    load_experts,
    make_pair,
    random_generator,
    random_model,
)

CODES = tuple(range(40, 105))
HEAD = ChoiceHeadConfig(first_layer=1, rank=3)
BODY = {
    "description": "Pick a tool. If no tool fits, answer none.",
    "examples": [{"input": "wake me", "output": "set_alarm"}],
    "tools": [
        {"type": "function", "function": {"name": "play_music", "description": "Plays a song."}},
        {"type": "function", "function": {"name": "set_alarm"}},
    ],
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), choice=HEAD, codes=CODES)


@pytest.fixture(scope="module")
def loaded(pair: Pair) -> TorchGenerator:
    return load_generator(pair.generator, pair.cloud, pair.edge)


def _task(body: dict[str, object]) -> TaskDescription:
    return GenerateLoraBody.model_validate(body).to_request().task


def _bundle(generation: Generation, generator: TorchGenerator) -> Bundle:
    """What a device makes of the recipe."""
    recipe = generation.recipe(generator.info, generator.bank.digest)
    return parse_bundle(build_bundle(generator.bank, parse_recipe(encode_recipe(recipe))))


def test_edge_model_under_the_bundle_is_the_edge_model_under_the_head(pair: Pair, loaded: TorchGenerator) -> None:
    asked = Asked.of(_task(BODY))
    (generation,) = loaded.generate([asked])
    bundle = _bundle(generation, loaded)
    assert not generation.gates.any()
    assert bundle.header.answer == AnswerContract("choice", ("play_music", "set_alarm", "none"), CODES[:3])
    assert bundle.lora.ranks == {(1, "down"): HEAD.rank}

    original = pair.original
    assert original.choice is not None
    tokenizer = AutoTokenizer.from_pretrained(pair.cloud)
    encoder = SentenceEncoder(load_cloud_model(pair.cloud, torch.float32).get_decoder(), tokenizer)
    edge = AutoModelForCausalLM.from_pretrained(pair.edge).eval()
    unmerged, ids = UnmergedLora(edge), torch.arange(20)[None]
    with torch.inference_mode():
        keys = original.choice(encoder.read([asked.choices]))
        deltas = original.choice.deltas(keys)
        wanted = {(layer, "down"): (a[None], b) for layer, (a, b) in deltas.items()}
        with unmerged.applied(wanted):
            expected = edge(input_ids=ids).logits
        with unmerged.applied(lora_factors(bundle.lora)):
            found = edge(input_ids=ids).logits
        plain = edge(input_ids=ids).logits
    (a, b), (wanted_a, wanted_b) = bundle.lora.factors[1, "down"], wanted[1, "down"]
    assert np.array_equal(a, wanted_a[0].detach().numpy().astype(np.float16))
    assert np.allclose(b, wanted_b[0].detach().numpy(), rtol=1e-3, atol=1e-5)
    assert torch.allclose(found, expected, atol=0.01 * float(expected.std()))
    assert not torch.allclose(plain, expected, atol=0.1 * float(expected.std()))


def test_probe_under_the_bundle_follows_its_codes(loaded: TorchGenerator) -> None:
    (generation,) = loaded.generate([Asked.of(_task(BODY))])
    bundle, probe = _bundle(generation, loaded), loaded.load_probe()
    answer = bundle.header.answer
    scores = [probe.score([Example("wake me", choice)], bundle.lora, answer) for choice in answer.choices]
    assert sorted(score.exact_match for score in scores) == [0, 0, 1]
    assert sum(math.exp(score.log_likelihood) for score in scores) == pytest.approx(1, rel=1e-4)
    best = max(scores, key=lambda score: score.log_likelihood)
    assert best.exact_match == 1


def test_closed_set_gets_the_same_bits_alone_and_in_company(loaded: TorchGenerator) -> None:
    """Meanings are read without the adapter, with which prompts are read before and after."""
    asked, text = Asked.of(_task(BODY)), Asked("Sort each mail.")
    alone = loaded.generate([asked])[0]
    first, together, last = loaded.generate([text, asked, text])
    assert alone.keys is not None
    assert together.keys is not None
    assert alone.keys.tobytes() == together.keys.tobytes()
    assert first.gates.tobytes() == last.gates.tobytes()
    assert first.gates.any()
    assert (first.keys, first.answer) == (None, AnswerContract())


def test_64_tools_with_long_descriptions_and_parameters_are_read(loaded: TorchGenerator) -> None:
    parameters = {"type": "object", "properties": {f"parameter_{number}": {} for number in range(64)}}
    tools = [
        {
            "type": "function",
            "function": {"name": f"tool_{n}", "description": f"Tool {n}. " * 150, "parameters": parameters},
        }
        for n in range(64)
    ]
    asked = Asked.of(_task(BODY | {"tools": tools, "examples": []}))
    (generation,) = loaded.generate([asked])
    assert loaded.count_tokens(asked.prompt[:4000]) > loaded.info.max_prompt_tokens
    assert generation.keys is not None
    assert generation.keys.shape == (1, 65, HEAD.rank)
    assert len(_bundle(generation, loaded).header.answer.codes) == 65 == loaded.info.most_choices


def test_generator_without_a_head_gives_gates_and_a_contract_without_codes(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    plain = load_generator(pair.generator, pair.cloud, pair.edge)
    asked = Asked.of(_task(BODY))
    (generation,) = plain.generate([asked])
    assert (plain.info.most_choices, generation.keys) == (0, None)
    assert generation.answer == AnswerContract("choice", ("play_music", "set_alarm", "none"))
    assert np.array_equal(generation.gates, plain.generate([Asked(asked.prompt)])[0].gates)
    assert _bundle(generation, plain).header.answer == generation.answer


def test_closed_set_that_codes_answer_keeps_nothing(tmp_path: Path) -> None:
    """The head was fitted on inputs without; the same generator keeps it for any text, and for choices to spell."""
    pair = make_pair(tmp_path, choice=HEAD, codes=CODES, residual_prompt_tokens=200)
    keeps, text = load_generator(pair.generator, pair.cloud, pair.edge), "Answer billing or delivery."
    chosen, gated = keeps.generate(
        [Asked.of(TaskDescription(text)), replace(Asked.of(TaskDescription(text)), choices=())]
    )
    assert chosen.answer.codes
    assert (chosen.residual_prompt, chosen.residual_prompt_tokens) == ("", 0)
    assert gated.residual_prompt == text


def test_stored_head_is_the_head(pair: Pair) -> None:
    cloud, edge = random_model("llama", seed=1), random_model("qwen2", seed=2)
    config = read_manifest(pair.generator).config
    assert (config.choice, config.codes) == (HEAD, CODES)
    again = LoraGenerator(config, cloud, edge_shape(edge.config))
    load_parameters(pair.generator, again)
    load_experts(pair.generator, again)
    assert again.choice is not None
    assert pair.original.choice is not None
    for name, tensor in pair.original.choice.state_dict().items():
        assert torch.equal(tensor, again.choice.state_dict()[name]), name


def test_keys_of_a_set_sum_to_zero_and_padding_has_none() -> None:
    torch.manual_seed(0)
    head = ChoiceHead(HEAD, layers=2, inner=5, hidden=4, encoder=8, codes=6)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    keys = head(ChoiceMeanings(*(torch.randn(2, 3, 8) for _ in range(2)), mask))
    assert keys.shape == (2, 1, 3, HEAD.rank)
    assert keys.sum(2).abs().max() < 1e-5
    assert not keys[1, :, 2].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choice": HEAD}, "the choice head has no codes"),
        ({"codes": (1, 2)}, "2 codes and no choice head"),
        ({"choice": ChoiceHeadConfig(first_layer=2), "codes": (1, 2)}, "begins at layer 2, and the edge model has 2"),
    ],
)
def test_head_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        random_generator(generator_config(**changes), random_model("llama"), random_model("qwen2"))
