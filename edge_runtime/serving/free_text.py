"""Coordinator: a piece of an answer that is text, as far as the model, a stop string or a call ends it."""

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
    # A choice is told as a whole: it is not the model's text, which a stop string would end.
    assembler = TextAssembler(() if sampling.choices else stop)
    text, head = "", ""
    count, may_end = 0, False
    waiting: list[Token] = []
    for token in sequence.decode(sampling, max_tokens):
        if token is None:
            yield None
            continue
        count, may_end = count + 1, token.may_end
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
    is_whole = assembler.stopped or may_end or count < max_tokens
    return Written(text + rest, count, is_whole, assembler.met)
