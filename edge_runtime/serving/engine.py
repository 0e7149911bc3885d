"""Values and the ports between serving and whatever computes tokens.

An engine is one model with one context, which has room for several sequences. Each request has one, and the engine
computes them together, step by step. Nothing here waits: what needs the engine's next step yields None, and goes on
when it is resumed after that step. The real engine is `serving.llama`; tests bring their own. Text, stop strings and
queues are not its concern.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from edge_runtime.serving.call_forms import CallForm
from edge_runtime.serving.chat import PLAIN_RENDERING, ChatMessage, Rendering
from loragen.contract.answer import AnswerContract


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; the defaults are OpenAI's.

    Attributes:
        temperature: 0 is greedy: the most likely token, always.
        top_p: Smallest set of tokens whose probability reaches this.
        frequency_penalty: Subtracted from a token's logit for each time it was generated.
        presence_penalty: Subtracted once when it was generated at all.
        seed: Makes sampling repeatable; None draws one.
        top_k: The likeliest tokens that are drawn from; 0 for all.
        min_p: Least probability of a token that may be drawn, as a share of the likeliest one's.
        repeat_penalty: The logit of a token that was generated is divided by it, or multiplied when it is negative.
        logit_bias: Tokens, and what is added to the logit of each.
        logprobs: How many of the likeliest tokens to tell for each token of the answer; None tells nothing.
        choices: The answer is one of these texts; empty for any text.
        codes: One token for each choice: the model writes that token, and the answer is the choice. Empty to let the
            model spell the choices.
        schema: The answer is JSON of this schema, as `canonical_schema` writes it; empty for any text.
        beginning: What stands in front of that JSON.
        ends_in_time: It is closed when it repeats itself, or when its greatest length is near, and no object of it has
            a name twice.
        avoided: Tokens that the answer does without, unless nothing else is left.
        spelled: Control tokens that stand for their spelling, which otherwise stand for no text.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    choices: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    schema: str = ""
    beginning: str = ""
    ends_in_time: bool = False
    avoided: tuple[int, ...] = ()
    spelled: tuple[int, ...] = ()

    @property
    def longest_choice(self) -> int:
        """Most tokens that the model spells a choice with: a token has a byte at least. 0 where it spells none."""
        return 0 if self.codes else max((len(choice.encode()) for choice in self.choices), default=0)


GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The natural logarithm of a token's probability, as the model had it before anything was constrained."""

    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer.

    Attributes:
        piece: The bytes that it stands for; empty for a special token, the choice's text for a code.
        may_end: The answer is all that it was to be, and may end here.
        was_cut: JSON was closed, here or before, because its greatest length was near.
        likelihood: Where it was asked for.
        likeliest: As many of the likeliest tokens as were asked for.
    """

    piece: bytes
    may_end: bool = False
    likelihood: Likelihood | None = None
    likeliest: tuple[Likelihood, ...] = ()
    was_cut: bool = False


_ResultT = TypeVar("_ResultT")

Steps = Generator[None, None, _ResultT]
"""Something that takes steps of the engine. It yields before each one, and returns its result."""


class TokenSequence(Protocol):
    """One request's part of the context."""

    def prefill(self, prompt: Sequence[int], beginning: int = 0) -> Steps[int]:
        """Bring the sequence to the end of `prompt`.

        Args:
            prompt: Not empty.
            beginning: How many of its first tokens other prompts share; all of them can then be used again.

        Returns:
            How many leading tokens were in the context and were not computed again.

        Raises:
            ModelOutputError: Decoding failed.
        """
        ...

    def extend(self, prompt: Sequence[int], beginning: int = 0) -> Steps[int]:
        """As `prefill`, but where `prompt` goes on with what the sequence has by now, only the rest is computed.

        What is computed so is not used again by other requests.

        Raises:
            ModelOutputError: Decoding failed.
        """
        ...

    def score(self, prompt: Sequence[int], count: int) -> Steps[list[Token]]:
        """As `prefill`, and say how likely the model takes each token of the prompt after those before it.

        Args:
            prompt: Not empty.
            count: How many of the likeliest tokens to tell in each place.

        Returns:
            The prompt's tokens, control tokens spelled, the first without a likelihood, and after them the likeliest
            next one.

        Raises:
            ModelOutputError: Logits are not finite, or decoding failed.
        """
        ...

    def probabilities(self, tokens: Sequence[int]) -> list[float]:
        """How likely each of `tokens` comes next after the prompt, if it is one of them; at temperature 1.

        To be asked right after `prefill`.

        Raises:
            ModelOutputError: Logits are not finite.
        """
        ...

    def decode(self, sampling: Sampling, max_tokens: int) -> Iterator[Token | None]:
        """The answer token by token, and None before each step of the engine.

        Ends before an end-of-generation token, or where nothing else may follow.

        Raises:
            InvalidRequestError: There is no grammar for the schema.
            ModelOutputError: Logits are not finite, no token spells what the answer must be, or decoding failed.
        """
        ...

    def close(self) -> None:
        """Give the sequence back. What is in it stays there for requests that begin alike, while it is not needed."""
        ...


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """What clients that make prompts themselves need of a model's tokenizer.

    Attributes:
        bos: Text of the token at the beginning of a text; empty for none.
        eos: Text of the token that ends an answer; empty for none.
        chat_template: Jinja source; empty for none.
    """

    bos: str = ""
    eos: str = ""
    chat_template: str = ""


class Engine(Protocol):
    """One model, one context; called from one thread at a time."""

    @property
    def sequences(self) -> int:
        """How many can be open at a time."""
        ...

    @property
    def context_tokens(self) -> int:
        """Prompt and answer of one request together, in tokens."""
        ...

    @property
    def vocab_tokens(self) -> int:
        """Tokens in the vocabulary."""
        ...

    @property
    def answer(self) -> AnswerContract:
        """What the answers of what is loaded may look like: of the adapter when there is one, else of the model."""
        ...

    @property
    def residual_prompt(self) -> str:
        """Text that what is loaded wants in front of each chat, as system message; empty for none."""
        ...

    @property
    def chat_problem(self) -> str:
        """Why chats are refused; empty when they are not."""
        ...

    @property
    def tokenizer(self) -> TokenizerInfo:
        """What the model's file says of its tokenizer."""
        ...

    def tokenize(self, text: str, bos: bool = True) -> list[int]:
        """Tokens of a text as it stands, with the BOS that the tokenizer prepends; markup of control tokens is obeyed.

        Args:
            text: The text.
            bos: Prepend it.

        Raises:
            ContextLengthError: It is so long that no tokens of this vocabulary would fit the context.
        """
        ...

    @property
    def call_form(self) -> CallForm:
        """How the model writes calls of tools that a request brings."""
        ...

    def tokenize_chat(self, messages: Sequence[ChatMessage], rendering: Rendering = PLAIN_RENDERING) -> list[int]:
        """Tokens of the prompt that the model's own template makes of `messages`, and of what `rendering` adds.

        Only the template's markup is obeyed: a message is text, even where it spells a control token.

        Raises:
            InvalidRequestError: The model has no template, or the template refuses the messages.
            ContextLengthError: As for `tokenize`.
        """
        ...

    def chat_beginning(self, system: str, rendering: Rendering = PLAIN_RENDERING) -> Sequence[int]:
        """Tokens that all chats with this system message begin with; none where there are no such chats."""
        ...

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens of the vocabulary, control tokens spelled."""
        ...

    def tokenize_answer(self, text: str, markup: bool = False) -> list[int]:
        """Tokens of a text as a part of an answer: without BOS, and markup is text, unless it is to be obeyed."""
        ...

    def open(self) -> TokenSequence:
        """A sequence for one request; at most `sequences` are open at a time."""
        ...

    def step(self) -> None:
        """Compute one batch, for some or all of the sequences that wait for it; blocking.

        An error is raised in the sequences that it concerns, when they are resumed.
        """
        ...

    def close(self) -> None:
        """Free the context, and the model when no other engine uses it."""
        ...


class EngineLoader(Protocol):
    """Loads engines; blocking."""

    def load(self, model: Path, adapter: Path | None) -> Engine:
        """An engine of a GGUF model, with a GGUF adapter attached at run time when one is given.

        Raises:
            ModelLoadError: A file is missing, damaged, or does not fit.
            AnswerContractError: The answer contract or the residual prompt is malformed, or a code is no token.
        """
        ...
