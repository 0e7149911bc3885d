"""Coordinator: a piece of an answer that is text: a choice, or as far as the model, a stop string or a call ends it."""

from collections.abc import Generator
from dataclasses import dataclass

from edge_runtime.serving.engine import Sampling, Token, TokenSequence
from edge_runtime.serving.events import TextPiece
from edge_runtime.serving.text_assembler import TextAssembler


@dataclass(frozen=True, slots=True)
class Written:
    """How a text ended.

    Attributes:
        text: All of it.
        tokens: How many it took.
        is_whole: It was not cut by its greatest length.
        met: The string that ended it; empty for none.
    """

    text: str
    tokens: int
    is_whole: bool
    met: str = ""


def write_text(
    sequence: TokenSequence,
    sampling: Sampling,
    stop: tuple[str, ...],
    max_tokens: int,
    index: int,
    first: str = "",
) -> Generator[TextPiece | None, None, Written]:
    """Write text.

    Args:
        sequence: Ends with the prompt.
        sampling: How.
        stop: Strings before the first of which the text ends.
        max_tokens: Longest text.
        index: Which answer it belongs to.
        first: A text that begins with this, after any white space, ends there.

    Yields:
        The text, and None before each step of the engine.

    Raises:
        ModelOutputError: The model failed.
    """
    assembler = TextAssembler(stop)
    text, head = "", ""
    count, may_end, was_cut = 0, False, False
    waiting: list[Token] = []
    for token in sequence.decode(sampling, max_tokens):
        if token is None:
            yield None
            continue
        count, may_end, was_cut = count + 1, token.may_end, token.was_cut
        waiting += [token] if token.likelihood is not None else []
        certain = assembler.push(token.piece)
        if first:
            head += certain
            if head.lstrip().startswith(first):
                return Written("", count, True, first)
            if len(head.lstrip()) < len(first) and not assembler.stopped:
                continue
            certain, first = head, ""
        if certain:
            text += certain
            yield TextPiece(certain, index, tuple(waiting))
            waiting.clear()
        if assembler.stopped:
            break
    rest = head if first else ""
    rest += assembler.finish()
    if rest or (waiting and not assembler.stopped):
        yield TextPiece(rest, index, tuple(waiting))
    # An engine that ends on its own met an end-of-generation token before the count was full.
    is_whole = not was_cut and (assembler.stopped or may_end or count < max_tokens)
    return Written(text + rest, count, is_whole, assembler.met)


def write_choice(
    sequence: TokenSequence, sampling: Sampling, max_tokens: int, index: int
) -> Generator[TextPiece | None, None, Written]:
    """Write one of the choices, which is sent when it is whole: nothing else is an answer.

    Args:
        sequence: Ends with the prompt.
        sampling: How; it has choices.
        max_tokens: The room for it.
        index: Which answer it is.

    Yields:
        The choice, and None before each step of the engine.

    Raises:
        ModelOutputError: The model failed.
    """
    tokens: list[Token] = []
    for token in sequence.decode(sampling, max_tokens):
        if token is None:
            yield None
        else:
            tokens.append(token)
    is_whole = bool(tokens) and tokens[-1].may_end
    text = b"".join(token.piece for token in tokens).decode() if is_whole else ""
    if is_whole:
        yield TextPiece(text, index, tuple(token for token in tokens if token.likelihood is not None))
    return Written(text, len(tokens), is_whole)
