"""The cloud model as prompt encoder: families, padding, positions, the adapter."""

import pytest
import torch
from torch import Tensor

from cloud_service.generator import CheckpointError, UnsupportedModelError
from cloud_service.generator.prompt_encoder import CASE_STRIDE, PromptEncoder, encode_prompts, pad_right
from loragen.contract.edge_families import EDGE_FAMILIES
from tests.cloud_service.generator.tiny import encoder_tokenizer, generator_config, random_model, tokenizer

LAYERS = 3
PROMPTS = [[5, 6, 7], [9] * 20, [11, 12, 13, 14, 15, 16, 17], []]
ENCODERS = ("bert", "roberta", "distilbert")
ADAPTABLE = (*EDGE_FAMILIES, "opt", *ENCODERS)
WHOLE = ("gpt2", "gpt_neox", "modernbert")
FAMILIES = [(family, rank) for family in ADAPTABLE for rank in (0, 2)] + [(family, 0) for family in WHOLE]


def prompt_encoder(family: str, adapter_rank: int) -> PromptEncoder:
    torch.manual_seed(0)
    made = PromptEncoder(generator_config(adapter_rank=adapter_rank), random_model(family), LAYERS).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


def states_of(made: PromptEncoder, prompts: list[list[int]]) -> Tensor:
    with torch.inference_mode():
        states: Tensor = made(*pad_right(prompts))
    return states


@pytest.mark.parametrize(("family", "adapter_rank"), FAMILIES)
def test_states_do_not_depend_on_the_neighbours(family: str, adapter_rank: int) -> None:
    """A prompt alone, with longer and with shorter neighbours, and in another row."""
    made = prompt_encoder(family, adapter_rank)
    together = states_of(made, PROMPTS)
    assert together.shape == (len(PROMPTS), LAYERS, 32)
    for row, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(together[row : row + 1], states_of(made, [prompt]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(states_of(made, [[8] * 11, PROMPTS[0]])[1], together[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_states_are_those_of_a_plain_forward_pass(family: str) -> None:
    """Prompt embeddings, then the meta vectors; states after the final norm, at the meta vectors' places."""
    made = prompt_encoder(family, 0)
    model = random_model(family)
    with torch.inference_mode():
        prompt = model.get_input_embeddings()(torch.tensor([PROMPTS[0]]))
        whole = torch.cat([prompt, made.meta[None]], dim=1)
        expected = model(inputs_embeds=whole, output_hidden_states=True).hidden_states[-1][:, len(PROMPTS[0]) :]
    torch.testing.assert_close(states_of(made, [PROMPTS[0]]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [*ENCODERS, "modernbert"])
def test_encoder_reads_in_both_directions(family: str) -> None:
    """Every state, of the prompt or of a meta vector, depends on the first token and on the last meta vector."""
    made = prompt_encoder(family, 0)
    ids, lengths = pad_right([[5, 6, 7, 8]])
    with torch.inference_mode():
        before = torch.cat(made.encode(ids, lengths), dim=1)
        other_start = torch.cat(made.encode(torch.tensor([[9, 6, 7, 8]]), lengths), dim=1)
        made.meta[-1].neg_()  # adding a number to all of it would be lost in the layer norm
        other_end = torch.cat(made.encode(ids, lengths), dim=1)
    assert before.shape == (1, LAYERS + 4, 32)
    for other in (other_start, other_end):
        assert ((before - other).abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("family", ENCODERS)
def test_encoder_states_are_those_of_a_plain_forward_pass(family: str) -> None:
    """Meta vectors that equal the embeddings of tokens read as these tokens do."""
    model = random_model(family)
    made = PromptEncoder(generator_config(), model, LAYERS)
    with torch.inference_mode():
        made.meta.copy_(model.get_input_embeddings()(torch.tensor([20, 21, 22])))
        meta, states = made.encode(*pad_right([[5, 6, 7]]))
        expected = model(input_ids=torch.tensor([[5, 6, 7, 20, 21, 22]])).last_hidden_state
    torch.testing.assert_close(torch.cat([states, meta], dim=1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_states_follow_the_prompt(family: str) -> None:
    made = prompt_encoder(family, 0)
    states = states_of(made, [[5, 6, 7], [6, 5, 7]])
    assert (states[0] - states[1]).abs().mean() > 0.01


@pytest.mark.parametrize("family", ADAPTABLE)
def test_adapter_starts_without_effect_and_learns(family: str) -> None:
    """B is zero at first: the same states as without an adapter, and a gradient for every B."""
    torch.manual_seed(0)
    model = random_model(family)
    plain = PromptEncoder(generator_config(adapter_rank=0), model, LAYERS)
    before = states_of(plain, PROMPTS)
    adapted = PromptEncoder(generator_config(adapter_rank=2), model, LAYERS)
    adapted.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(states_of(adapted, PROMPTS), before)
    adapted(*pad_right(PROMPTS)).square().sum().backward()
    assert adapted.adapter is not None
    assert len(adapted.adapter.b) == 4  # q and v of two layers
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adapted.adapter.b.values())
    assert all(parameter.grad is None for parameter in model.parameters()), "the cloud model is frozen"


def test_adapter_acts_as_if_merged_into_the_weights() -> None:
    """W' = W + alpha/rank * B A on q and v."""
    made = prompt_encoder("llama", 2)
    assert made.adapter is not None
    adapted = states_of(made, PROMPTS)
    plain = random_model("llama")
    merged = PromptEncoder(generator_config(adapter_rank=0), plain, LAYERS)
    merged.load_state_dict({"meta": made.meta})
    assert not torch.allclose(states_of(merged, PROMPTS), adapted, rtol=1e-2, atol=1e-2)
    with torch.no_grad():
        for number, layer in enumerate(plain.get_decoder().layers):
            for name in ("q_proj", "v_proj"):
                a, b = (factors[f"{number}_{name}"] for factors in (made.adapter.a, made.adapter.b))
                getattr(layer.self_attn, name).weight += made.adapter.scale * b @ a
    torch.testing.assert_close(states_of(merged, PROMPTS), adapted, rtol=1e-4, atol=1e-5)


def test_cloud_weights_are_not_parameters_of_the_prompt_encoder() -> None:
    assert list(prompt_encoder("llama", 0).state_dict()) == ["meta"]
    assert list(prompt_encoder("bert", 0).state_dict()) == ["meta", "cases"]


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("gpt2", "gpt2 has no layers"),
        ("gpt_neox", "layer 0 of gpt_neox has no q_proj"),
        ("modernbert", "layer 0 of modernbert has no q_proj"),
    ],
)
def test_adapter_on_another_layout_is_refused(family: str, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        PromptEncoder(generator_config(adapter_rank=2), random_model(family), LAYERS)
    assert "adapter_rank 0" in caught.value.hint


@pytest.mark.parametrize(("family", "longest"), [("gpt2", 253), ("bert", 253), ("roberta", 251)])
def test_prompts_that_the_cloud_model_cannot_hold_are_refused_early(family: str, longest: int) -> None:
    """The prompt and 3 meta vectors fill the 256 positions, of which RoBERTa leaves 2 unused."""
    model = random_model(family)
    made = PromptEncoder(generator_config(max_prompt_tokens=longest), model, LAYERS)
    assert states_of(made, [[5] * longest]).isfinite().all()
    with pytest.raises(CheckpointError, match=f"max_prompt_tokens is {longest + 1}, expected at most {longest}"):
        PromptEncoder(generator_config(max_prompt_tokens=longest + 1), model, LAYERS)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3_text"])
def test_meta_vectors_start_at_the_size_of_embedded_tokens(family: str) -> None:
    """Gemma scales its embeddings; too small a meta vector would start as next to nothing."""
    torch.manual_seed(0)
    model = random_model(family)
    made = PromptEncoder(generator_config(max_prompt_tokens=100), model, 64)
    embedded = model.get_input_embeddings()(torch.arange(256))
    assert 0.8 < made.meta.std() / embedded.std() < 1.25


def test_encoding_puts_the_beginning_of_sequence_in_front_where_there_is_one() -> None:
    with_bos, without = tokenizer(bos_token="<s>"), tokenizer()
    plain = without("ab")["input_ids"]
    assert encode_prompts(without, ["ab", ""]) == [plain, []]
    assert encode_prompts(with_bos, ["ab", ""]) == [[0, *plain], [0]]


def test_encoding_for_an_encoder_frames_each_prompt_as_its_tokenizer_does() -> None:
    words = encoder_tokenizer()
    plain = words("route the tool", add_special_tokens=False)["input_ids"]
    assert encode_prompts(words, ["route the tool", ""]) == [[2, *plain, 3], [2, 3]]


def test_case_that_an_uncased_tokenizer_loses_is_reported_beside_the_token() -> None:
    words = encoder_tokenizer()
    route, the, tool = words("route the tool", add_special_tokens=False)["input_ids"]
    (ids,) = encode_prompts(words, ["Route THE tooL"])
    assert ids == [2, route + CASE_STRIDE, the + 2 * CASE_STRIDE, tool + 3 * CASE_STRIDE, 3]


def test_case_reads_as_nothing_until_it_is_trained() -> None:
    made = PromptEncoder(generator_config(), random_model("bert"), LAYERS)
    lower, capital = [[5, 6, 7]], [[5 + CASE_STRIDE, 6, 7 + 3 * CASE_STRIDE]]
    assert torch.equal(states_of(made, lower), states_of(made, capital))
    made(*pad_right(capital)).square().sum().backward()
    assert made.cases.grad is not None
    assert made.cases.grad.abs().amax(1).gt(0).tolist() == [True, False, True], "capitalized and mixed, not upper"
    with torch.no_grad():
        made.cases.normal_()
    assert (states_of(made, lower) - states_of(made, capital)).abs().mean() > 0.01


def test_padding_is_on_the_right_and_up_to_a_multiple() -> None:
    ids, lengths = pad_right([[4, 5, 6], [7]], multiple=4)
    assert ids.tolist() == [[4, 5, 6, 0], [7, 0, 0, 0]]
    assert lengths.tolist() == [3, 1]
