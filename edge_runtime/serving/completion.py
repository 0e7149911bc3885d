"""Values of one completion, and the rules that turn an engine's tokens into its text.

Bytes become text only at character boundaries. Text is sent only when it can no longer be the beginning of a stop
string. Nothing here waits or has threads: `serving.worker` drives it.
"""

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge_runtime.errors import ContextLengthError, InvalidRequestError
from edge_runtime.serving.constraint import constrained
from edge_runtime.serving.engine import Cancelled, ChatMessage, Engine, Sampling


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
    """

    prompt: TextPrompt | TokenPrompt | ChatPrompt
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...] = ()
    constrain: bool = True
    choice_probabilities: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is in the context; the next event carries text.

    Attributes:
        cached_tokens: Leading prompt tokens that were still there from the request before.
        choice_probabilities: Of each choice, where they were asked for.
    """

    prompt_tokens: int
    cached_tokens: int
    choice_probabilities: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete."""

    reason: Literal["stop", "length"]
    completion_tokens: int


Event = Started | TextPiece | Finished


class TextAssembler:
    """Puts together the text of one answer.

    Attributes:
        stopped: A stop string was met; whatever follows is dropped.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""
        self.stopped = False

    def push(self, piece: bytes) -> str:
        """Take the bytes of one token; return the text that is now certain, which may be none."""
        return self._release(self._decoder.decode(piece), last=False)

    def finish(self) -> str:
        """Return the rest of the text, at the end of the answer."""
        return self._release(self._decoder.decode(b"", final=True), last=True)

    def _release(self, text: str, last: bool) -> str:
        if self.stopped:
            return ""
        self._pending += text
        # The stop string that is complete first counts, so that the result does not depend on the cut into tokens.
        found = [(at + len(stop), at) for stop in self._stop if (at := self._pending.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._take(min(found)[1])
        return self._take(len(self._pending) - (0 if last else self._possible_stop()))

    def _possible_stop(self) -> int:
        """Length of the longest end of the pending text with which a stop string begins."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._pending)), longest, -1):
                if self._pending.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _take(self, length: int) -> str:
        text, self._pending = self._pending[:length], self._pending[length:]
        return text


def complete(engine: Engine, request: CompletionRequest, cancelled: Cancelled) -> Iterator[Event]:
    """Answer one request; blocking.

    Yields:
        `Started`, any number of `TextPiece`, `Finished`; it just ends when `cancelled` says so.

    Raises:
        ContextLengthError: The prompt leaves no room for an answer.
        InvalidRequestError: The chat template refuses the messages, there is no prompt, or no codes whose probabilities
            could be told.
        ModelOutputError: The model failed.
    """
    sampling = constrained(request.sampling, engine.answer, request.constrain)
    if request.choice_probabilities and not sampling.codes:
        raise InvalidRequestError(
            "'choice_probabilities' is not supported for this answer: it is not constrained to the codes of choices",
            "GET /v1/models/{id} shows what answers a model gives; leave 'constrain' out",
            code="unsupported_parameter",
        )
    prompt = prompt_tokens(engine, request.prompt)
    room = engine.context_tokens - len(prompt)
    if room < 1:
        raise ContextLengthError(
            f"the prompt has {len(prompt)} tokens, the context of this model {engine.context_tokens}, "
            "and at least one must be left for the answer",
            f"shorten the prompt to {engine.context_tokens - 1} tokens",
        )
    max_tokens = room if request.max_tokens is None else min(request.max_tokens, room)
    cached = engine.prefill(prompt, cancelled)
    if cancelled():
        return
    probabilities = None
    if request.choice_probabilities:
        probabilities = dict(zip(sampling.choices, engine.probabilities(sampling.codes), strict=True))
    yield Started(len(prompt), cached, probabilities)
    # A code is translated as a whole: what the choice says is not the model's text, which a stop string would end.
    text = TextAssembler(() if sampling.codes else request.stop)
    count = 0
    for piece in engine.decode(sampling, max_tokens, cancelled):
        count += 1
        if certain := text.push(piece):
            yield TextPiece(certain)
        if text.stopped:
            break
    if cancelled():
        return
    if rest := text.finish():
        yield TextPiece(rest)
    # An engine that ends on its own met an end-of-generation token before the count was full; a code is a whole answer.
    is_whole = text.stopped or bool(sampling.codes) or count < max_tokens
    yield Finished("stop" if is_whole else "length", count)


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
