"""Coordinator: one answer that is calls of functions, or what stands for none.

A specialization chooses the function first: by a code, or by spelling the beginning of its call. Then that beginning
takes the place of what was decoded, so that the context is the same in both ways, and the model writes the arguments.
A model that a request brings tools writes text until it opens a call in the form of its template. From there on it is
constrained in the same way. Calls that are no JSON, or are not to be constrained, are read when they are whole.

Rules of the end: an answer that its greatest length cuts ends with `length`, however many whole calls are in front of
the cut; else with `tool_calls` when it has one. What stands behind a whole call and is none is dropped. A
specialization that makes a call again ends there: one that was not trained on several calls repeats itself for ever.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Literal

from edge_runtime.serving.answer_format import WholeAnswer
from edge_runtime.serving.asked_arguments import GivenArguments
from edge_runtime.serving.call_forms import OWN_FORM, CallForm
from edge_runtime.serving.chat import FunctionCall
from edge_runtime.serving.constraint import Calls
from edge_runtime.serving.engine import Engine, Sampling, TokenSequence
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, TextPiece
from edge_runtime.serving.free_text import write_text
from edge_runtime.serving.text_assembler import TextAssembler
from loragen.contract.answer import Function
from loragen.contract.asked_arguments import ask_for_all

_Outcome = Generator[Event | None, None, bool]
"""Events of one part of an answer, and whether the answer goes on."""


def with_calls_as_text(events: Iterator[Event | None]) -> Iterator[Event | None]:
    """The same answer for a client that knows no calls: each call is a line of its text."""
    for event in events:
        match event:
            case CallStarted(name, index, number):
                before = "\n" if number else ""
                yield TextPiece(f"{before}{OWN_FORM.beginning_of(name)} ", index)
            case ArgumentsPiece(text, index):
                yield TextPiece(text, index)
            case CallFinished(index):
                yield TextPiece("}", index)
            case Finished("tool_calls", count, index):
                yield Finished("stop", count, index)
            case _:
                yield event


def call_functions(
    engine: Engine,
    sequence: TokenSequence,
    prompt: Sequence[int],
    beginning: int,
    sampling: Sampling,
    calls: Calls,
    stop: tuple[str, ...],
    max_tokens: int,
    index: int,
) -> Iterator[Event | None]:
    """Answer with calls.

    Args:
        engine: The model.
        sequence: It ends with the prompt.
        prompt: What is in the sequence.
        beginning: How many of its first tokens other chats share.
        sampling: How; its choices are what the model chooses from.
        calls: What may be called.
        stop: Text that stands in front of a call ends before the first of these.
        max_tokens: Longest answer.
        index: Which answer it is.

    Yields:
        The events of this answer, and None before each step of the engine.

    Raises:
        ModelOutputError: The model failed.
    """
    answer = _Answer(engine, sequence, prompt, beginning, sampling, calls, max_tokens, index)
    goes_on = yield from answer.open_first(stop) if calls.are_brought else answer.choose_first()
    while goes_on:
        goes_on = yield from answer.next_call()
    yield Finished(answer.reason, answer.count, index)


@dataclass(slots=True)
class _Answer:
    """One answer on its way.

    Attributes:
        count: Tokens so far.
        number: Calls so far.
        reason: Why it ends, when it ends now.
        form: How its calls are written.
        chosen: The function of the next call, when it is known.
        made: Its calls so far, of a specialization.
        parts: What stands behind the prompt: texts, and whether control tokens that they spell are meant.
    """

    engine: Engine
    sequence: TokenSequence
    prompt: Sequence[int]
    beginning: int
    sampling: Sampling
    calls: Calls
    max_tokens: int
    index: int
    count: int = 0
    number: int = 0
    reason: Literal["stop", "length", "tool_calls"] = "stop"
    form: CallForm = OWN_FORM
    chosen: Function | None = None
    made: list[FunctionCall] = field(default_factory=list)
    parts: list[tuple[str, bool]] = field(default_factory=list)

    def choose_first(self) -> _Outcome:
        """Let a specialization choose; whether it chose a call."""
        choice = yield from self._choose(self.sampling)
        if choice is None:  # cut inside a name
            self.reason = "length"
            return False
        self.chosen = self.calls.functions.get(choice)
        if self.chosen is None:
            yield TextPiece(choice, self.index)
        return self.chosen is not None

    def open_first(self, stop: tuple[str, ...]) -> _Outcome:
        """Let a model that was brought tools write text until it opens a call; whether it does."""
        self.form = self.engine.call_form
        if not self.calls.are_optional:
            return True
        marker = self.form.opening.strip()
        first = "" if marker else "{"
        written = yield from write_text(
            self.sequence, self._spelled(), (*stop, *filter(None, [marker])), self.max_tokens, self.index, first
        )
        self.count += written.tokens
        self.parts.append((written.text, False))
        self.reason = "stop" if written.is_whole else "length"
        return written.met == (marker or first)

    def next_call(self) -> _Outcome:
        """Write a call; whether another one follows."""
        if self.calls.are_brought:
            self.parts.append((self.form.opening, True))
        holds = self.form.key and self.calls.are_constrained
        writing = self._write_constrained() if holds else self._write_and_read()
        is_whole = yield from writing if self.calls.are_brought else self._unless_made(writing)
        if not is_whole:
            return False
        yield CallFinished(self.index, self.number)
        self.number, self.reason = self.number + 1, "tool_calls"
        if self.number == self.calls.most or self.form.between is None:
            return False
        yield from self._prefill()
        return (yield from self._opens_another() if self.calls.are_brought else self._chooses_another())

    def _unless_made(self, writing: _Outcome) -> _Outcome:
        """Pass on a call as it is written; one behind others is held until it is known to be none of them."""
        made, held = WholeAnswer(), list[Event]()
        with closing(writing):
            while True:
                try:
                    event = next(writing)
                except StopIteration as end:
                    is_whole: bool = end.value
                    break
                if event is not None:
                    made.add(event)
                if event is None or not self.number:
                    yield event
                else:
                    held.append(event)
        if is_whole and made.calls[0] in self.made:
            return False
        yield from held
        self.made += made.calls
        return is_whole

    def _write_constrained(self) -> _Outcome:
        if self.chosen is None:
            yield from self._choose_by({self.form.beginning_of(name): name for name in self.calls.functions})
        if (function := self.chosen) is None:
            return False
        self.chosen = None
        yield CallStarted(function.name, self.index, self.number)
        self.parts.append((self.form.beginning_of(function.name), False))
        arguments = "{}"
        if function.parameters:
            arguments, is_whole = yield from self._write_arguments(function.parameters)
            if not is_whole:
                self.reason = "length"
                return False
        else:
            yield ArgumentsPiece(arguments, self.index, self.number)
        self.parts += [(f" {arguments}}}", False), (self.form.closing, True)]
        return True

    def _write_arguments(self, schema: str) -> Generator[Event | None, None, tuple[str, bool]]:
        """The arguments as the model wrote them, and whether they are whole."""
        room = self._room()
        if room <= 0:
            return "", False
        yield from self._prefill()
        text, blank, arguments, is_whole = TextAssembler(()), " ", "", False
        schema, optional = (schema, frozenset[str]()) if self.calls.are_brought else ask_for_all(schema)
        given = GivenArguments(optional)
        constrained = replace(self.sampling, choices=(), codes=(), schema=schema, beginning=blank)
        for token in self.sequence.decode(constrained, room):
            if token is None:
                yield None
                continue
            self.count, is_whole = self.count + 1, token.may_end
            if piece := text.push(token.piece).removeprefix(blank):
                blank, arguments = "", arguments + piece
                if passed := given.push(piece):
                    yield ArgumentsPiece(passed, self.index, self.number)
        return arguments, is_whole

    def _write_and_read(self) -> _Outcome:
        """A call that is written freely, but for its function where that is constrained, and read when it is whole."""
        head = ""
        if self.calls.are_constrained:
            heads = {f"{name}{{": name for name in self.calls.functions}
            yield from self._choose_by(heads)
            if self.chosen is None:
                return False
            head, self.chosen = f"{self.chosen.name}{{", None
            self.parts.append((head, False))
        room = self._room()
        text, closing, ended = head, self.form.closing.strip(), False
        if room > 0:
            yield from self._prefill()
            assembler, count = TextAssembler((closing,)), 0
            for token in self.sequence.decode(self._spelled(), room):
                if token is None:
                    yield None
                    continue
                count += 1
                text += assembler.push(token.piece)
                if assembler.stopped:
                    break
            text += assembler.finish()
            self.count += count
            ended = assembler.stopped or count < room
        call = self.form.parse(text) if ended else None
        if call is None or call.name not in self.calls.functions:
            if not self.number:  # what the model wrote instead of a call is its answer
                yield TextPiece(self.form.opening + text, self.index)
            if not ended:
                self.reason = "length"
            return False
        yield CallStarted(call.name, self.index, self.number)
        yield ArgumentsPiece(call.arguments, self.index, self.number)
        self.parts += [(text.removeprefix(head), False), (self.form.closing, True)]
        return True

    def _chooses_another(self) -> _Outcome:
        between = self.form.between or ""
        functions = self.calls.functions.values()
        spelled = {f"{between}{self.form.beginning_of(each.name)}": each for each in functions}
        choice = yield from self._choose(replace(self.sampling, choices=("", *spelled), codes=()))
        if choice is None:  # cut inside a name
            self.reason = "length"
        elif choice:
            self.chosen = spelled[choice]
            self.parts.append((between, False))
        return bool(choice)

    def _opens_another(self) -> _Outcome:
        marker, room, count = TextAssembler((self.form.opening.strip(),)), max(self._room(), 0), 0
        for token in self.sequence.decode(self._spelled(), room):
            if token is None:
                yield None
                continue
            self.count, count = self.count + 1, count + 1
            if marker.push(token.piece).strip():
                return False
            if marker.stopped:
                self.parts.append((self.form.between or "", True))
                return True
        if room and count == room:
            self.reason = "length"
        return False

    def _choose_by(self, names: Mapping[str, str]) -> Generator[Event | None, None, None]:
        """Let the model choose a function by a text for each; none is chosen when it is cut."""
        choice: str | None = next(iter(names))
        if len(names) > 1:
            yield from self._prefill()
            choice = yield from self._choose(replace(self.sampling, choices=tuple(names), codes=()))
        if choice is None:
            self.reason = "length"
        else:
            self.chosen = self.calls.functions[names[choice]]

    def _choose(self, sampling: Sampling) -> Generator[Event | None, None, str | None]:
        """What the model chooses; None when it is cut."""
        if len(sampling.choices) == 1:
            return sampling.choices[0]
        pieces: list[bytes] = []
        for token in self.sequence.decode(sampling, max(self._room(), 0)):
            if token is None:
                yield None
            else:
                pieces.append(token.piece)
        self.count += len(pieces)
        text = b"".join(pieces).decode("utf-8", "replace")
        return text if text in sampling.choices else None

    def _spelled(self) -> Sampling:
        """Text in which the control tokens of a call are read, not lost."""
        markup = f"{self.form.opening}{self.form.quote}{self.form.closing}"
        return replace(self.sampling, spelled=tuple(self.engine.tokenize_answer(markup, markup=True)))

    def _prefill(self) -> Generator[None, None, None]:
        if self._room() > 0:
            yield from self.sequence.extend(self._context(), self.beginning)

    def _room(self) -> int:
        return min(self.max_tokens - self.count, self.engine.context_tokens - len(self._context()))

    def _context(self) -> list[int]:
        tokens = list(self.prompt)
        for is_markup, parts in groupby(self.parts, key=itemgetter(1)):
            tokens += self.engine.tokenize_answer("".join(text for text, _ in parts), markup=is_markup)
        return tokens
