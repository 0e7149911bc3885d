"""Coordinator: one completion, from a request to the events of its answers.

Nothing here waits or has threads: `serving.worker` drives it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edge_runtime.errors import ContextLengthError, InvalidRequestError
from edge_runtime.serving.constraint import NO_TOOL_USE, ToolUse, constrained
from edge_runtime.serving.engine import Cancelled, ChatMessage, Engine, Sampling, Token
from edge_runtime.serving.events import Event, Finished, Started, TextPiece
from edge_runtime.serving.text_assembler import TextAssembler
from edge_runtime.serving.tool_calls import as_text, call_function


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


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What a client asks for.

    Attributes:
        max_tokens: Longest answer; None for as long as the context allows.
        stop: The answer ends before the first of these strings.
        constrain: Hold the answer to the contract of the specialization.
        choice_probabilities: Say how likely each choice is; only where the contract has codes.
        tool_use: What the client says of functions.
        answers: How many answers it wants; the seed of each is the next one.
    """

    prompt: TextPrompt | TokenPrompt | ChatPrompt
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...] = ()
    constrain: bool = True
    choice_probabilities: bool = False
    tool_use: ToolUse = NO_TOOL_USE
    answers: int = 1


def complete(engine: Engine, request: CompletionRequest, cancelled: Cancelled) -> Iterator[Event]:
    """Answer one request; blocking.

    Yields:
        The events of `serving.events`; it just ends when `cancelled` says so.

    Raises:
        ContextLengthError: The prompt leaves no room for an answer.
        InvalidRequestError: The chat template refuses the messages, there is no prompt, no codes whose probabilities
            could be told, or something is asked that this model cannot do.
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
        raise InvalidRequestError(f"'logit_bias': expected tokens between 0 and {engine.vocab_tokens - 1}")
    prompt = prompt_tokens(engine, request.prompt)
    room = engine.context_tokens - len(prompt)
    if room < 1:
        raise ContextLengthError(
            f"the prompt has {len(prompt)} tokens, the context of this model {engine.context_tokens}, "
            "and at least one must be left for the answer",
            f"shorten the prompt to {engine.context_tokens - 1} tokens",
        )
    max_tokens = room if request.max_tokens is None else min(request.max_tokens, room)
    for index in range(request.answers):
        cached = engine.prefill(prompt, cancelled)
        if cancelled():
            return
        if index == 0:
            probabilities = None
            if request.choice_probabilities:
                probabilities = dict(zip(sampling.choices, engine.probabilities(sampling.codes), strict=True))
            yield Started(len(prompt), cached, probabilities)
        elif sampling.seed is not None:
            sampling = replace(sampling, seed=sampling.seed + 1)
        if constraint.functions:
            called = call_function(engine, prompt, sampling, constraint.functions, max_tokens, index, cancelled)
            yield from called if isinstance(request.prompt, ChatPrompt) else as_text(called)
        else:
            yield from _write(engine, sampling, request.stop, max_tokens, index, cancelled)


def _write(
    engine: Engine, sampling: Sampling, stop: tuple[str, ...], max_tokens: int, index: int, cancelled: Cancelled
) -> Iterator[Event]:
    """One answer that is text."""
    # A code is translated as a whole: what the choice says is not the model's text, which a stop string would end.
    text = TextAssembler(() if sampling.codes else stop)
    count, may_end = 0, False
    waiting: list[Token] = []
    for token in engine.decode(sampling, max_tokens, cancelled):
        count, may_end = count + 1, token.may_end
        waiting += [token] if token.likelihood is not None else []
        if certain := text.push(token.piece):
            yield TextPiece(certain, index, tuple(waiting))
            waiting.clear()
        if text.stopped:
            break
    if cancelled():
        return
    if rest := text.finish():
        yield TextPiece(rest, index, tuple(waiting))
    # An engine that ends on its own met an end-of-generation token before the count was full.
    is_whole = text.stopped or may_end or count < max_tokens
    yield Finished("stop" if is_whole else "length", count, index)


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
        case ChatPrompt(messages):
            tokens = engine.tokenize_chat(with_residual_prompt(messages, engine.residual_prompt))
        case TokenPrompt(given):
            tokens = list(given)
            if tokens and not 0 <= min(tokens) <= max(tokens) < engine.vocab_tokens:
                raise InvalidRequestError(f"prompt tokens must lie between 0 and {engine.vocab_tokens - 1}")
    if not tokens:
        raise InvalidRequestError("the prompt is empty", "send at least one token of text")
    return tokens
