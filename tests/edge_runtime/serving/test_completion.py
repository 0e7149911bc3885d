"""From a request to the events of its answers."""

from dataclasses import replace
from typing import Any

import pytest

from edge_runtime.errors import ContextLengthError, InvalidRequestError, ModelOutputError
from edge_runtime.serving.chat import ChatMessage, Rendering
from edge_runtime.serving.completion import (
    ChatPrompt,
    CompletionRequest,
    TextPrompt,
    TokenPrompt,
    complete_alone,
    prefill_residual_prompt,
    request_for_base,
)
from edge_runtime.serving.constraint import NO_TOOL_USE, ToolUse
from edge_runtime.serving.engine import GREEDY, Sampling
from edge_runtime.serving.events import Finished, Started, TextPiece
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, Function
from tests.edge_runtime.contracts import CALLS, DESKS, SPELLED
from tests.edge_runtime.fakes import FakeEngine, FakeLoader


def engine(answer: str = "one two three") -> FakeEngine:
    return FakeEngine([word.encode() + b" " for word in answer.split()], FakeLoader())


def request(prompt: str = "hi", max_tokens: int | None = 10, stop: tuple[str, ...] = ()) -> CompletionRequest:
    return CompletionRequest(TextPrompt(prompt), GREEDY, max_tokens, stop)


def test_answer_ends_by_itself() -> None:
    events = list(complete_alone(engine(), request()))
    assert events == [Started(3, 0), TextPiece("one "), TextPiece("two "), TextPiece("three "), Finished("stop", 3)]


def test_answer_ends_at_the_limit() -> None:
    events = list(complete_alone(engine(), request(max_tokens=2)))
    assert events[-1] == Finished("length", 2)


def test_answer_ends_before_a_stop_string() -> None:
    events = list(complete_alone(engine(), request(stop=("wo",))))
    assert events == [Started(3, 0), TextPiece("one "), TextPiece("t"), Finished("stop", 2)]


def test_limit_is_what_the_context_leaves() -> None:
    """63 of 64 tokens are taken: one is left, whatever was asked for."""
    events = list(complete_alone(engine(), request("x" * 62, max_tokens=None)))
    assert events[-1] == Finished("length", 1)


def test_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextLengthError, match=r"64 tokens.*64"):
        list(complete_alone(engine(), request("x" * 63)))


def test_answer_of_too_many_likelihoods_is_refused() -> None:
    """Each of a token's likeliest is a line of JSON: a request of some megabytes could ask for gigabytes."""
    scored = CompletionRequest(TextPrompt("hi"), Sampling(logprobs=20), 0, echo=True)
    prompts = (TextPrompt("x" * 50),) * 127
    assert list(complete_alone(engine(), replace(scored, more_prompts=prompts)))
    with pytest.raises(InvalidRequestError, match=r"'echo', 'logprobs': expected at most 524288 .* up to 1140480"):
        list(complete_alone(engine(), replace(scored, more_prompts=prompts, answers=8)))
    short = (TextPrompt("x"),) * 127
    with pytest.raises(InvalidRequestError, match="'echo', 'logprobs'"):
        list(complete_alone(engine(), replace(scored, more_prompts=short, answers=8, echo=False, max_tokens=50)))
    unscored = replace(scored, sampling=GREEDY, more_prompts=prompts, answers=8)
    assert list(complete_alone(engine(), unscored))


def test_tokens_outside_the_vocabulary_are_refused() -> None:
    for tokens in ((-1,), (256,), (1, 10**9)):
        with pytest.raises(InvalidRequestError, match="between 0 and 255"):
            list(complete_alone(engine(), CompletionRequest(TokenPrompt(tokens), GREEDY, 1)))


def test_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        list(complete_alone(engine(), CompletionRequest(TokenPrompt(()), GREEDY, 1)))


def test_chat_is_not_given_a_second_beginning_of_sequence() -> None:
    """The template writes it where the model wants it."""
    fake = engine()
    list(complete_alone(fake, CompletionRequest(ChatPrompt((ChatMessage("user", "hi"),)), GREEDY, 1)))
    list(complete_alone(fake, request("hi")))
    chat, text = fake.prefilled
    assert chat[0] != 1
    assert text[0] == 1


def test_model_failure_comes_through() -> None:
    fake = FakeEngine([b"one ", b"NaN"], FakeLoader())
    events = complete_alone(fake, request())
    assert [next(events), next(events)] == [Started(3, 0), TextPiece("one ")]
    with pytest.raises(ModelOutputError):
        next(events)


def test_contract_with_codes_is_answered_in_one_token_that_is_whole() -> None:
    """A stop string is for text that the model writes, and ends nothing here."""
    fake = engine()
    fake.answer = DESKS
    assert list(complete_alone(fake, request(max_tokens=1, stop=("ll",)))) == [
        Started(3, 0),
        TextPiece("billing"),
        Finished("stop", 1),
    ]


def test_contract_does_not_count_for_a_request_that_wants_none() -> None:
    fake = engine()
    fake.answer = DESKS
    events = list(complete_alone(fake, replace(request(max_tokens=2), constrain=False)))
    assert events[1:] == [TextPiece("one "), TextPiece("two "), Finished("length", 2)]


def test_probabilities_come_with_the_start() -> None:
    fake = engine()
    fake.answer = DESKS
    started, *_ = complete_alone(fake, replace(request(), choice_probabilities=True))
    assert started == Started(3, 0, dict.fromkeys(DESKS.choices, 1 / 3))


@pytest.mark.parametrize(
    ("contract", "change"),
    [(TEXT_ANSWER, {}), (SPELLED, {}), (DESKS, {"constrain": False}), (DESKS, {"sampling": Sampling(choices=("a",))})],
)
def test_probabilities_of_an_answer_without_codes_are_refused(contract: AnswerContract, change: dict[str, Any]) -> None:
    fake = engine()
    fake.answer = contract
    with pytest.raises(InvalidRequestError, match="'choice_probabilities' is not supported") as caught:
        list(complete_alone(fake, replace(request(), choice_probabilities=True, **change)))
    assert caught.value.code == "unsupported_parameter"
    assert fake.prefilled == []


def test_residual_prompt_stands_in_front_of_a_chat_and_of_its_system_message() -> None:
    """Text and tokens to be continued get none; "constrain": false does not switch it off."""
    fake = engine()
    fake.residual_prompt = "Sort each mail."
    user, system = ChatMessage("user", "hi"), ChatMessage("system", "Be kind.")
    for messages, expected in (
        ((user,), "<system>Sort each mail.<user>hi"),
        ((system, user), "<system>Sort each mail.\n\nBe kind.<user>hi"),
        ((user, system), "<system>Sort each mail.<user>hi<system>Be kind."),
    ):
        asked = CompletionRequest(ChatPrompt(messages), GREEDY, 1, constrain=False)
        started = next(complete_alone(fake, asked))
        assert fake.prefilled[-1] == fake.tokenize(expected)[1:]
        assert isinstance(started, Started)
        assert started.prompt_tokens == len(expected)
    for prompt in (TextPrompt("hi"), TokenPrompt((5, 6))):
        list(complete_alone(fake, CompletionRequest(prompt, GREEDY, 1)))
    assert fake.prefilled[-2:] == [fake.tokenize("hi"), [5, 6]]


def test_beginning_of_all_chats_is_computed_ahead() -> None:
    """As far as two chats are alike; nothing where there is no residual prompt, or where it fills the context."""
    fake = engine()
    list(prefill_residual_prompt(fake))
    assert fake.prefilled == []
    fake.residual_prompt = "Sort each mail."
    list(prefill_residual_prompt(fake))
    assert fake.prefilled == [fake.tokenize("<system>Sort each mail.<user>")[1:]]
    fake.residual_prompt = "x" * 64
    list(prefill_residual_prompt(fake))
    assert len(fake.prefilled) == 1
    assert fake.open_sequences == 0


def test_base_is_asked_without_the_functions_of_the_specialization() -> None:
    user = ChatMessage("user", "hi")
    chat = ChatPrompt((user,), Rendering(("{}",), '{"enable_thinking": false}'))
    asked = CompletionRequest(chat, GREEDY, 10, tool_use=ToolUse(tools=CALLS.functions, has_result=True))
    assert request_for_base(replace(asked, tool_use=ToolUse(tools=CALLS.functions)), CALLS, "") is None
    found = request_for_base(asked, CALLS, "")
    assert found == replace(
        asked, prompt=ChatPrompt((user,), Rendering((), chat.rendering.variables)), tool_use=NO_TOOL_USE
    )
    brought = replace(asked, tool_use=ToolUse(tools=(Function("other"),), has_result=True))
    assert request_for_base(brought, CALLS, "") == brought
    unwanted = replace(asked, tool_use=ToolUse("none", tools=(Function("other"),)))
    assert request_for_base(unwanted, CALLS, "") == found


def test_base_is_asked_with_the_residual_prompt_of_the_specialization() -> None:
    schema = replace(GREEDY, schema='{"type":"string"}')
    found = request_for_base(CompletionRequest(ChatPrompt((ChatMessage("user", "hi"),)), schema, 10), DESKS, "Sort.")
    assert found is not None
    assert found.prompt == ChatPrompt((ChatMessage("system", "Sort."), ChatMessage("user", "hi")))
    text = replace(request(), sampling=schema)
    assert request_for_base(text, DESKS, "Sort.") == text
