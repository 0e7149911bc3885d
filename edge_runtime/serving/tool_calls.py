"""Coordinator: one answer that is a call of a function, or what stands for none.

The function is chosen first: by a code, or by spelling the beginning of its call. Then that beginning takes the place
of what was decoded, so that the context is the same in both ways, and the model writes the arguments.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from edge_runtime.serving.engine import Engine, Sampling, TokenSequence
from edge_runtime.serving.events import ArgumentsPiece, CallStarted, Event, Finished, TextPiece
from edge_runtime.serving.text_assembler import TextAssembler
from loragen.contract.answer import Function


def beginning_of(name: str) -> str:
    """What stands in front of a call's arguments; the blank behind it belongs to the tokens of the arguments."""
    return f'{{"name": {json.dumps(name)}, "arguments":'


def text_of(name: str, arguments: str) -> str:
    """A call as text."""
    return f"{beginning_of(name)} {arguments}}}"


def as_text(events: Iterator[Event | None]) -> Iterator[Event | None]:
    """The same answer for a client that knows no calls: the call is its text."""
    for event in events:
        match event:
            case CallStarted(name, index):
                yield TextPiece(f"{beginning_of(name)} ", index)
            case ArgumentsPiece(text, index):
                yield TextPiece(text, index)
            case Finished("tool_calls", count, index):
                yield TextPiece("}", index)
                yield Finished("stop", count, index)
            case _:
                yield event


def call_function(
    engine: Engine,
    sequence: TokenSequence,
    prompt: Sequence[int],
    sampling: Sampling,
    functions: Mapping[str, Function],
    max_tokens: int,
    index: int,
) -> Iterator[Event | None]:
    """Answer with a call.

    Args:
        engine: The model.
        sequence: It ends with the prompt.
        prompt: What is in the sequence.
        sampling: How; its choices are what the model chooses from.
        functions: By choice; a choice that has none is the answer itself.
        max_tokens: Longest answer.
        index: Which answer it is.

    Yields:
        The events of this answer, and None before each step of the engine.

    Raises:
        ModelOutputError: The model failed.
    """
    chosen, count = sampling.choices[0], 0
    if len(sampling.choices) > 1:
        pieces: list[bytes] = []
        for token in sequence.decode(sampling, max_tokens):
            if token is None:
                yield None
            else:
                pieces.append(token.piece)
        chosen, count = b"".join(pieces).decode(), len(pieces)
    if chosen not in sampling.choices:  # cut inside a name
        yield Finished("length", count, index)
        return
    function = functions.get(chosen)
    if function is None:
        yield TextPiece(chosen, index)
        yield Finished("stop", count, index)
        return
    yield CallStarted(function.name, index)
    if not function.parameters:
        yield ArgumentsPiece("{}", index)
        yield Finished("tool_calls", count, index)
        return
    context = [*prompt, *engine.tokenize_answer(beginning_of(function.name))]
    room = min(max_tokens - count, engine.context_tokens - len(context))
    is_whole = False
    if room > 0:
        yield from sequence.prefill(context)
        text, blank = TextAssembler(()), " "
        written = replace(sampling, choices=(), codes=(), schema=function.parameters, beginning=blank)
        for token in sequence.decode(written, room):
            if token is None:
                yield None
                continue
            count, is_whole = count + 1, token.may_end
            if arguments := text.push(token.piece).removeprefix(blank):
                blank = ""
                yield ArgumentsPiece(arguments, index)
    yield Finished("tool_calls" if is_whole else "length", count, index)
