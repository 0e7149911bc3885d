"""An answer that is a call: which function, then its arguments."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from edge_runtime.serving.constraint import ToolUse, constrained
from edge_runtime.serving.engine import GREEDY, Sampling, Token
from edge_runtime.serving.events import ArgumentsPiece, CallStarted, Event, Finished, TextPiece
from edge_runtime.serving.tool_calls import as_text, call_function
from tests.edge_runtime.contracts import CALLS
from tests.edge_runtime.fakes import FakeEngine, FakeLoader

PROMPT = [5, 6, 7]
ARGUMENTS = (b" {", b'"unit": "k', b'm"}')


@dataclass
class CallingEngine(FakeEngine):
    """Chooses a choice by its place, and writes `words` where it is given a schema."""

    chooses: int = 0
    asked: list[Sampling] = field(default_factory=list)

    def decode(self, sampling: Sampling, max_tokens: int) -> Iterator[Token | None]:
        self.asked.append(sampling)
        if sampling.choices:
            text = sampling.choices[self.chooses].encode()
            pieces = [text] if sampling.codes else [text[:4], text[4:]]
        else:
            pieces = list(self.words)
        for number, piece in enumerate(pieces[:max_tokens]):
            yield None
            yield Token(piece, may_end=number + 1 == len(pieces))


def engine(chooses: int = 0, context: int = 256) -> CallingEngine:
    made = CallingEngine(ARGUMENTS, FakeLoader(), context_tokens=context, sequences=9)
    made.chooses = chooses
    return made


def events(engine: CallingEngine, codes: bool = True, most: int = 50, use: ToolUse | None = None) -> list[Event]:
    contract = CALLS if codes else replace(CALLS, codes=())
    held = constrained(GREEDY, contract, use=use or ToolUse())
    calls = call_function(engine, engine.open(), PROMPT, held.sampling, held.functions, most, 0)
    return [event for event in calls if event is not None]


def test_arguments_follow_the_beginning_of_the_call_in_place_of_the_code() -> None:
    """Without the codes, and with the blank that belongs to the first token taken off."""
    fake = engine()
    assert events(fake) == [
        CallStarted("find"),
        ArgumentsPiece("{"),
        ArgumentsPiece('"unit": "k'),
        ArgumentsPiece('m"}'),
        Finished("tool_calls", 4),
    ]
    assert fake.prefilled == [[*PROMPT, *fake.tokenize_answer('{"name": "find", "arguments":')]]
    _, written = fake.asked
    assert (written.schema, written.beginning) == (CALLS.functions[0].parameters, " ")
    assert (written.choices, written.codes, written.avoided) == ((), (), CALLS.codes)


def test_call_whose_beginning_was_spelled_reads_the_same() -> None:
    spelled, coded = engine(), engine()
    *calls, finished = events(spelled, codes=False)
    assert calls == events(coded)[:-1]
    assert finished == Finished("tool_calls", 5)
    assert spelled.prefilled == coded.prefilled


def test_function_without_parameters_is_called_at_once() -> None:
    fake = engine(chooses=1)
    assert events(fake) == [CallStarted("stop"), ArgumentsPiece("{}"), Finished("tool_calls", 1)]
    assert fake.prefilled == []


def test_what_stands_for_none_is_text() -> None:
    assert events(engine(chooses=2)) == [TextPiece("none"), Finished("stop", 1)]


def test_only_function_is_not_chosen() -> None:
    fake = engine()
    assert events(fake, use=ToolUse("required", "stop"))[0] == CallStarted("stop")
    assert fake.asked == []


def test_call_that_is_cut_says_so() -> None:
    """In the name, before the arguments, inside of them; and one that is whole with the last token is whole."""
    assert events(engine(), codes=False, most=1) == [Finished("length", 1)]
    assert events(engine(), most=1) == [CallStarted("find"), Finished("length", 1)]
    assert events(engine(), most=3)[-1] == Finished("length", 3)
    assert events(engine(), most=4)[-1] == Finished("tool_calls", 4)
    assert events(engine(context=20))[-1] == Finished("length", 1)


def test_call_as_text_is_json() -> None:
    said = list(as_text(iter(events(engine()))))
    assert "".join(event.text for event in said if isinstance(event, TextPiece)) == (
        '{"name": "find", "arguments": {"unit": "km"}}'
    )
    assert said[-1] == Finished("stop", 4)
    assert list(as_text(iter(events(engine(chooses=2))))) == events(engine(chooses=2))
