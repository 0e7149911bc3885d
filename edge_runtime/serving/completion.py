"""Coordinator: one completion, from a request to the events of its answers.

Nothing here waits or has threads: `serving.worker` drives it.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Self

from edge_runtime.errors import ContextLengthError, InvalidRequestError
from edge_runtime.serving.chat import PLAIN_RENDERING, ChatMessage, Rendering
from edge_runtime.serving.constraint import NO_TOOL_USE, ToolUse, constrained, is_for_base
from edge_runtime.serving.engine import Engine, Sampling, Steps, Token, TokenSequence
from edge_runtime.serving.events import Event, Finished, Started, TextPiece
from edge_runtime.serving.free_text import write_choice, write_text
from edge_runtime.serving.tool_calls import call_functions, with_calls_as_text
from loragen.contract.answer import AnswerContract

MAX_REPORTED = 524_288
"""Tokens and likelihoods of tokens in the answers to a request that asks for likelihoods or its prompts: some 50 MB
of JSON."""


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Text to continue."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """Tokens to continue, as the client counted them."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A chat to answer."""

    messages: tuple[ChatMessage, ...]
    rendering: Rendering = PLAIN_RENDERING


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What a client asks for.

    Attributes:
        max_tokens: Longest answer; None for as long as the context allows. It cuts no choice,
            but calls.
        stop: The answer ends before the first of these strings.
        constrain: Hold the answer to the contract of the specialization.
        choice_probabilities: Say how likely each choice is; only where the contract has codes.
        tool_use: What the client says of functions.
        answers: How many answers it wants to each prompt; the seed of each is the next one.
        more_prompts: Answered after the first, each as if it were alone.
        echo: The prompt stands in front of the answer, with the likelihood of its tokens.
    """

    prompt: TextPrompt | TokenPrompt | ChatPrompt
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...] = ()
    constrain: bool = True
    choice_probabilities: bool = False
    tool_use: ToolUse = NO_TOOL_USE
    answers: int = 1
    more_prompts: tuple[TextPrompt | TokenPrompt, ...] = ()
    echo: bool = False

    @property
    def answers_in_all(self) -> int:
        """How many answers it wants to all its prompts."""
        return self.answers * (1 + len(self.more_prompts))

    def over(self, template_variables: Mapping[str, Any]) -> Self:
        """The same, with these variables of the chat template where it sets no others."""
        if not template_variables or not isinstance(self.prompt, ChatPrompt):
            return self
        return replace(self, prompt=replace(self.prompt, rendering=self.prompt.rendering.over(template_variables)))


def request_for_base(
    request: CompletionRequest, contract: AnswerContract, residual_prompt: str
) -> CompletionRequest | None:
    """What the base model is asked in the place of a specialization; None where that answers itself.

    Args:
        request: To the specialization.
        contract: Of the specialization, whose functions the base model is not told.
        residual_prompt: Of the specialization.

    Raises:
        InvalidRequestError: It demands a call of a function that is not there.
    """
    use, prompt = request.tool_use, request.prompt
    if not is_for_base(request.sampling, contract, request.constrain, use):
        return None
    if use.choice == "none" or set(use.tools) <= set(contract.functions):
        use = NO_TOOL_USE
    if isinstance(prompt, ChatPrompt):
        rendering = prompt.rendering if use.tools else replace(prompt.rendering, tools=())
        prompt = ChatPrompt(tuple(with_residual_prompt(prompt.messages, residual_prompt)), rendering)
    return replace(request, prompt=prompt, tool_use=use)


def complete_alone(engine: Engine, request: CompletionRequest) -> Iterator[Event]:
    """Answer one request with nothing beside it; blocking.

    Raises:
        ServingError: As `completion_events`.
    """
    with closing(engine.open()) as sequence:
        for event in completion_events(engine, sequence, request):
            if event is None:
                engine.step()
            else:
                yield event


def completion_events(
    engine: Engine, sequence: TokenSequence, request: CompletionRequest
) -> Generator[Event | None, None, None]:
    """Answer one request.

    Args:
        engine: The model.
        sequence: This request's own, of that engine.
        request: What is asked for.

    Yields:
        The events of `serving.events`, and None before each step of the engine.

    Raises:
        ContextLengthError: The prompt leaves no room for an answer.
        InvalidRequestError: The chat template refuses the messages, there is no prompt, no codes whose probabilities
            could be given, the answer would be too large, or something is asked that this model cannot do.
        ModelOutputError: The model failed.
    """
    constraint = constrained(request.sampling, engine.answer, request.constrain, request.tool_use)
    sampling = constraint.sampling
    if request.choice_probabilities and not sampling.codes:
        raise InvalidRequestError(
            "'choice_probabilities' is not supported for this answer: it is not constrained to the codes of choices",
            "GET /v1/models/{id} shows what answers a model gives; leave 'constrain' out",
            code="unsupported_parameter",
        )
    if any(not 0 <= token < engine.vocab_tokens for token, _ in sampling.logit_bias):
        raise InvalidRequestError(
            f"'logit_bias': expected tokens between 0 and {engine.vocab_tokens - 1}",
            "POST /tokenize says which tokens a text is made of",
            field="logit_bias",
        )
    first = request.prompt
    if isinstance(first, ChatPrompt) and not constraint.shows_tools:
        first = replace(first, rendering=replace(first.rendering, tools=()))
    prompts = [_fitting(engine, each) for each in (first, *request.more_prompts)]
    beginning = _beginning(engine, first, prompts[0]) if isinstance(first, ChatPrompt) else 0
    longest_choice = 0 if constraint.calls else sampling.longest_choice
    greatest = [_greatest_length(engine, request, longest_choice, prompt) for prompt in prompts]
    _verify_size(request, prompts, greatest)
    for index in range(request.answers_in_all):
        number, answer = divmod(index, request.answers)
        prompt, max_tokens = prompts[number], greatest[number]
        cached = 0
        scored: tuple[Token, ...] = ()
        if request.echo:
            scored = tuple((yield from sequence.score(prompt, sampling.logprobs or 0)))
        else:
            cached = yield from sequence.prefill(prompt, 0 if number else beginning)
        if index == 0:
            probabilities = None
            if request.choice_probabilities:
                probabilities = dict(zip(sampling.choices, sequence.probabilities(sampling.codes), strict=True))
            yield Started(sum(map(len, prompts)), cached, probabilities)
        if answer and sampling.seed is not None:
            seeded = replace(sampling, seed=sampling.seed + answer)
        else:
            seeded = sampling
        # As OpenAI and lm-eval have it: the token after a scored prompt is reported, even one that ends the answer.
        is_scored = request.echo and sampling.logprobs is not None and max_tokens <= 1
        if request.echo:
            shown = scored if is_scored and max_tokens else scored[:-1]
            text = b"".join(token.piece for token in shown).decode("utf-8", "replace")
            yield TextPiece(text, index, shown if sampling.logprobs is not None else ())
        if is_scored or max_tokens == 0:
            yield Finished("length", max_tokens, index)
        elif constraint.calls is not None:
            called = call_functions(
                engine, sequence, prompt, beginning, seeded, constraint.calls, request.stop, max_tokens, index
            )
            yield from called if isinstance(request.prompt, ChatPrompt) else with_calls_as_text(called)
        else:
            if seeded.choices:
                written = yield from write_choice(sequence, seeded, max_tokens, index)
            else:
                written = yield from write_text(sequence, seeded, request.stop, max_tokens, index)
            yield Finished("stop" if written.is_whole else "length", written.tokens, index)


def _greatest_length(engine: Engine, request: CompletionRequest, longest_choice: int, prompt: Sequence[int]) -> int:
    """Most tokens of an answer to a prompt. What a client allows cuts no choice: half of one would be no answer."""
    room = engine.context_tokens - len(prompt)
    if request.max_tokens is None:
        return room
    return min(request.max_tokens and max(request.max_tokens, longest_choice), room)


def _verify_size(request: CompletionRequest, prompts: Sequence[Sequence[int]], greatest: Sequence[int]) -> None:
    logprobs = request.sampling.logprobs
    if logprobs is None and not request.echo:
        return
    tokens = sum(greatest)
    if request.echo:
        tokens += sum(map(len, prompts))
    reported = tokens * request.answers * (1 if logprobs is None else 2 + logprobs)
    if reported > MAX_REPORTED:
        raise InvalidRequestError(
            f"'echo', 'logprobs': expected at most {MAX_REPORTED} tokens and likelihoods of tokens in the answer, "
            f"found up to {reported}",
            "ask for fewer likelihoods, for fewer or shorter answers, or in several requests",
        )


def _fitting(engine: Engine, prompt: TextPrompt | TokenPrompt | ChatPrompt) -> list[int]:
    tokens = prompt_tokens(engine, prompt)
    if len(tokens) >= engine.context_tokens:
        raise ContextLengthError(
            f"the prompt has {len(tokens)} tokens, the context of this model {engine.context_tokens}, "
            "and at least one must be left for the answer",
            f"shorten the prompt to {engine.context_tokens - 1} tokens",
        )
    return tokens


def _beginning(engine: Engine, chat: ChatPrompt, prompt: Sequence[int]) -> int:
    """How many tokens of a chat's prompt all chats with its system message share; 0 where it has none."""
    system = with_residual_prompt(chat.messages, engine.residual_prompt)[0]
    if system.role != "system":
        return 0
    beginning = engine.chat_beginning(system.content, chat.rendering)
    return len(beginning) if list(prompt[: len(beginning)]) == list(beginning) else 0


def prefill_residual_prompt(engine: Engine) -> Steps[None]:
    """Compute what all chats of this engine begin with, so that the first one need not.

    Raises:
        ServingError: The model failed.
    """
    if not engine.residual_prompt:
        return
    beginning = engine.chat_beginning(engine.residual_prompt)
    if 0 < len(beginning) < engine.context_tokens:
        with closing(engine.open()) as sequence:
            yield from sequence.prefill(beginning, len(beginning))


def with_residual_prompt(messages: Sequence[ChatMessage], residual_prompt: str) -> Sequence[ChatMessage]:
    """The messages of a chat behind the residual prompt: a system message, or the beginning of the client's."""
    if not residual_prompt:
        return messages
    if messages and messages[0].role == "system":
        own, *others = messages
        return [ChatMessage("system", f"{residual_prompt}\n\n{own.content}"), *others]
    return [ChatMessage("system", residual_prompt), *messages]


def prompt_tokens(engine: Engine, prompt: TextPrompt | TokenPrompt | ChatPrompt) -> list[int]:
    """The tokens of a prompt.

    Raises:
        InvalidRequestError: There are none, one is outside the vocabulary, or the chat template refuses.
    """
    match prompt:
        case TextPrompt(text):
            tokens = engine.tokenize(text)
        case ChatPrompt(messages, rendering):
            tokens = engine.tokenize_chat(with_residual_prompt(messages, engine.residual_prompt), rendering)
        case TokenPrompt(given):
            tokens = list(given)
            if tokens and not 0 <= min(tokens) <= max(tokens) < engine.vocab_tokens:
                raise InvalidRequestError(f"prompt tokens must lie between 0 and {engine.vocab_tokens - 1}")
    if not tokens:
        raise InvalidRequestError("the prompt is empty", "send at least one token of text")
    return tokens
