"""An answer that is a call: which function, then its arguments."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from edge_runtime.serving.answer_format import WholeAnswer
from edge_runtime.serving.call_forms import HERMES_FORM, CallForm
from edge_runtime.serving.chat import FunctionCall
from edge_runtime.serving.constraint import ToolUse, constrained
from edge_runtime.serving.engine import GREEDY, Sampling, Token
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, TextPiece
from edge_runtime.serving.tool_calls import call_functions, with_calls_as_text
from loragen.contract.answer import TEXT_ANSWER, Function
from loragen.contract.asked_arguments import ask_for_all
from loragen.contract.limits import MAX_PARALLEL_CALLS
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
    assert held.calls is not None
    calls = call_functions(engine, engine.open(), PROMPT, 0, held.sampling, held.calls, (), most, 0)
    return [event for event in calls if event is not None]


def test_arguments_follow_the_beginning_of_the_call_in_place_of_the_code() -> None:
    """Without the codes, and with the blank that belongs to the first token taken off."""
    fake = engine()
    assert events(fake) == [
        CallStarted("find"),
        ArgumentsPiece("{"),
        ArgumentsPiece('"unit": "k'),
        ArgumentsPiece('m"}'),
        CallFinished(),
        Finished("tool_calls", 4),
    ]
    assert fake.prefilled == [[*PROMPT, *fake.tokenize_answer('{"name": "find", "arguments":')]]
    _, written = fake.asked
    assert (written.schema, written.beginning) == (ask_for_all(CALLS.functions[0].parameters)[0], " ")
    assert (written.choices, written.codes, written.avoided) == ((), (), CALLS.codes)


def test_a_client_never_sees_the_null_of_an_optional_parameter_and_the_model_does() -> None:
    fake = engine()
    fake.words = (b" {", b'"place": nu', b'll, "unit": ', b'"km"}')
    own = events(fake, use=ToolUse())
    assert "".join(event.text for event in own if isinstance(event, ArgumentsPiece)) == '{"unit": "km"}'
    parallel = engine()
    parallel.words = fake.words
    held = constrained(GREEDY, replace(CALLS, parallel=True))
    assert held.calls is not None
    list(call_functions(parallel, parallel.open(), PROMPT, 0, held.sampling, held.calls, (), 50, 0))
    written = '{"name": "find", "arguments": {"place": null, "unit": "km"}}'
    assert parallel.prefilled[1] == [*PROMPT, *parallel.tokenize_answer(written)]


def test_tools_that_a_request_brings_are_not_asked_for_one_by_one() -> None:
    """The model was trained on its own calls, and leaves out what it leaves out."""
    fake = engine()
    fake.words = (b" {", b'"place": null}')
    function = Function("find", '{"properties":{"place":{"type":"null"}},"type":"object"}')
    held = constrained(GREEDY, TEXT_ANSWER, use=ToolUse("required", tools=(function,)))
    assert held.calls is not None
    calls = list(call_functions(fake, fake.open(), PROMPT, 0, held.sampling, held.calls, (), 50, 0))
    assert "".join(event.text for event in calls if isinstance(event, ArgumentsPiece)) == '{"place": null}'
    assert [sampling.schema for sampling in fake.asked if sampling.schema] == [function.parameters]


def test_call_whose_beginning_was_spelled_reads_the_same() -> None:
    spelled, coded = engine(), engine()
    *calls, finished = events(spelled, codes=False)
    assert calls == events(coded)[:-1]
    assert finished == Finished("tool_calls", 5)
    assert spelled.prefilled == coded.prefilled


def test_function_without_parameters_is_called_at_once() -> None:
    fake = engine(chooses=1)
    assert events(fake) == [
        CallStarted("stop"),
        ArgumentsPiece("{}"),
        CallFinished(),
        Finished("tool_calls", 1),
    ]
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
    said = list(with_calls_as_text(iter(events(engine()))))
    assert "".join(event.text for event in said if isinstance(event, TextPiece)) == (
        '{"name": "find", "arguments": {"unit": "km"}}'
    )
    assert said[-1] == Finished("stop", 4)
    assert list(with_calls_as_text(iter(events(engine(chooses=2))))) == events(engine(chooses=2))


def test_whole_call_as_text_is_closed_though_the_next_one_is_cut() -> None:
    first = [CallStarted("find"), ArgumentsPiece("{}"), CallFinished()]
    for second, expected in ([], ""), ([CallStarted("stop", 0, 1)], '\n{"name": "stop", "arguments": '):
        said = list(with_calls_as_text(iter([*first, *second, Finished("length", 9)])))
        text = "".join(event.text for event in said if isinstance(event, TextPiece))
        assert text == '{"name": "find", "arguments": {}}' + expected
        assert said[-1] == Finished("length", 9)


SCHEMA = CALLS.functions[0].parameters
FIND, STOP = Function("find", SCHEMA), Function("stop")
FIND_HEAD = '{"name": "find", "arguments":'
MARKED = CallForm("<call>call:", "", "</call>", "", "<q>")
BARE = CallForm("", "parameters")


class ScriptedEngine(FakeEngine):
    """Writes what a script says, one entry for each time it is asked; its tokens are characters."""

    def script(self, *texts: str, form: CallForm = HERMES_FORM) -> "ScriptedEngine":
        self.texts, self.call_form, self.asked = list(texts), form, list[Sampling]()
        return self

    def decode(self, sampling: Sampling, max_tokens: int) -> Iterator[Token | None]:
        self.asked.append(sampling)
        text = self.texts.pop(0)
        assert not sampling.choices or text in sampling.choices
        for number, character in enumerate(text[:max_tokens]):
            yield None
            yield Token(character.encode(), may_end=bool(sampling.schema) and number + 1 == len(text))


def brought(
    *texts: str,
    form: CallForm = HERMES_FORM,
    use: ToolUse | None = None,
    constrain: bool = True,
    most: int = 500,
    stop: tuple[str, ...] = (),
) -> tuple[list[Event], ScriptedEngine]:
    """What an answer is whose request brought the tools `find` and `stop`."""
    engine = ScriptedEngine([], FakeLoader(), context_tokens=5_000, sequences=9).script(*texts, form=form)
    held = constrained(GREEDY, TEXT_ANSWER, constrain, use or ToolUse(tools=(FIND, STOP)))
    assert held.calls is not None
    calls = call_functions(engine, engine.open(), PROMPT, 0, held.sampling, held.calls, stop, most, 0)
    return [event for event in calls if event is not None], engine


def added(events: list[Event]) -> tuple[str, list[tuple[str, str]], str]:
    """Text, calls and the reason of the end."""
    whole = WholeAnswer()
    for event in events:
        whole.add(event)
    return whole.text, [(call.name, call.arguments) for call in whole.calls], whole.reason


def test_model_that_is_brought_tools_may_answer_with_text() -> None:
    for form in (HERMES_FORM, BARE, MARKED):
        events, engine = brought("Hello <tool_cal", form=form)
        assert added(events) == ("Hello <tool_cal", [], "stop")
        assert bool(engine.asked[0].spelled) is (form is not BARE)
    assert added(brought("  so", form=BARE)[0]) == ("  so", [], "stop")
    assert added(brought("far too long", most=3)[0]) == ("far", [], "length")
    assert added(brought("one, two", stop=(",",))[0]) == ("one", [], "stop")


def test_model_opens_a_call_and_is_constrained_to_its_schema() -> None:
    """Text may stand in front. The context is what the template would have written."""
    events, engine = brought("Hm.\n<tool_call>", '{"name": "find", "arguments":', ' {"unit": "km"}', "")
    assert added(events) == ("Hm.\n", [("find", '{"unit": "km"}')], "tool_calls")
    _, chosen, written, _ = engine.asked
    assert chosen.choices == ('{"name": "find", "arguments":', '{"name": "stop", "arguments":')
    assert (written.schema, written.beginning) == (SCHEMA, " ")
    call = '{"name": "find", "arguments": {"unit": "km"}}'
    spelled = [engine.tokenize_answer(text) for text in ("Hm.\n", "<tool_call>\n", call, "\n</tool_call>")]
    assert engine.prefilled[-1] == [*PROMPT, *(token for tokens in spelled for token in tokens)]


def test_call_without_an_opening_is_the_beginning_of_an_answer() -> None:
    events, engine = brought('\n{"na', '{"name": "find", "parameters":', ' {"unit": "km"}', form=BARE)
    assert added(events) == ("", [("find", '{"unit": "km"}')], "tool_calls")
    assert engine.texts == []  # nothing was asked after it: such a model calls once


@pytest.mark.parametrize("form", [HERMES_FORM, BARE])
def test_demanded_call_is_opened_for_the_model(form: CallForm) -> None:
    one = ToolUse("required", "find", (FIND, STOP))
    events, engine = brought(' {"unit": "km"}', "", form=form, use=one)
    assert added(events) == ("", [("find", '{"unit": "km"}')], "tool_calls")
    beginning = [*engine.tokenize_answer(form.opening), *engine.tokenize_answer(form.beginning_of("find"))]
    assert engine.prefilled[0] == [*PROMPT, *beginning]
    stop = brought("", form=form, use=ToolUse("required", "stop", (FIND, STOP)))[0]
    assert added(stop) == ("", [("stop", "{}")], "tool_calls")


def test_several_calls_of_brought_tools() -> None:
    texts = ("<tool_call>", '{"name": "stop", "arguments":', "\n<tool_call>", '{"name": "find", "arguments":')
    events, _ = brought(*texts, ' {"unit": "mi"}', " and more")
    assert added(events) == ("", [("stop", "{}"), ("find", '{"unit": "mi"}')], "tool_calls")
    assert [event.number for event in events if isinstance(event, CallStarted)] == [0, 1]
    once = ToolUse(tools=(FIND, STOP), parallel=False)
    events, _ = brought(*texts[:2], use=once)
    assert added(events) == ("", [("stop", "{}")], "tool_calls")
    many, _ = brought("<tool_call>", *['{"name": "stop", "arguments":', "\n<tool_call>"] * 20, most=4_000)
    assert len(added(many)[1]) == MAX_PARALLEL_CALLS


def test_calls_that_are_no_json_are_read() -> None:
    events, engine = brought("<call>call:", "find{", "unit:<q>km<q>}</call>", "", form=MARKED)
    assert added(events) == ("", [("find", '{"unit": "km"}')], "tool_calls")
    assert engine.asked[1].choices == ("find{", "stop{")
    broken, _ = brought("<call>call:", "find{", "unit:", form=MARKED)
    assert added(broken) == ("<call>call:find{unit:", [], "stop")
    cut, _ = brought("<call>call:", "find{", "unit:<q>km<q>}", form=MARKED, most=20)
    assert added(cut)[1:] == ([], "length")


def test_call_that_is_not_to_be_constrained_is_read() -> None:
    """It may break the schema. What is no call of a function that is there stays text."""
    call = '{"name": "find", "arguments": {"unit": 5}}\n</tool_call>'
    assert added(brought("<tool_call>", call, "", constrain=False)[0])[1] == [("find", '{"unit": 5}')]
    other = '{"name": "other", "arguments": {}}\n</tool_call>'
    text, calls, reason = added(brought("<tool_call>", other, constrain=False)[0])
    assert (calls, reason) == ([], "stop")
    assert '"other"' in text
    bare = '{"name": "stop", "parameters": {}}'
    assert added(brought("{", bare, constrain=False, form=BARE)[0])[1] == [("stop", "{}")]


def test_brought_call_that_is_cut_says_so() -> None:
    whole = (
        "<tool_call>",
        '{"name": "find", "arguments":',
        ' {"unit": "km"}',
        "\n<tool_call>",
        '{"name": "stop", "arguments":',
    )
    at = [len("".join(whole[:count])) for count in (1, 2, 3, 4)]
    assert added(brought(*whole, most=at[0] + 3)[0]) == ("", [], "length")
    assert added(brought(*whole, most=at[1] + 3)[0])[2] == "length"
    assert added(brought(*whole, most=at[2])[0]) == ("", [("find", '{"unit": "km"}')], "tool_calls")


@pytest.mark.parametrize(
    ("behind", "cut_after", "reason"),
    [
        # Room for the call alone; cut in the marker, in the name, in front of the arguments, inside of them.
        (["\n<tool_call>"], 0, "tool_calls"),
        (["\n<tool_call>"], 5, "length"),
        (["\n<tool_call>", FIND_HEAD], 12 + 3, "length"),
        (["\n<tool_call>", FIND_HEAD], 12 + len(FIND_HEAD), "length"),
        (["\n<tool_call>", FIND_HEAD, ' {"unit": "km"}'], 12 + len(FIND_HEAD) + 4, "length"),
        ([" so that is all"], 400, "tool_calls"),
        ([""], 400, "tool_calls"),
    ],
)
def test_whole_call_stays_whatever_comes_of_the_next(behind: list[str], cut_after: int, reason: str) -> None:
    """The reason says whether the answer was cut. What is told of a call that was cut is not whole."""
    whole = ("<tool_call>", FIND_HEAD, ' {"unit": "mi"}')
    events, _ = brought(*whole, *behind, most=len("".join(whole)) + cut_after)
    answer = WholeAnswer()
    for event in events:
        answer.add(event)
    assert (answer.calls[0], answer.whole_calls) == (FunctionCall("find", '{"unit": "mi"}'), 1)
    assert (answer.text, answer.reason) == ("", reason)
    assert len(answer.calls) == (2 if cut_after in range(12 + len(FIND_HEAD), 400) else 1)


@pytest.mark.parametrize(
    ("second", "most", "reason"),
    [('{"name": "other", "arguments": {}}\n</tool_call>', 500, "tool_calls"), ('{"name": "stop"', 75, "length")],
)
def test_what_is_read_behind_a_whole_call_and_is_none_is_dropped(second: str, most: int, reason: str) -> None:
    first = '{"name": "stop", "arguments": {}}\n</tool_call>'
    events, _ = brought("<tool_call>", first, "\n<tool_call>", second, constrain=False, most=most)
    assert added(events) == ("", [("stop", "{}")], reason)
    assert not any(isinstance(event, TextPiece) for event in events)


def test_several_calls_of_a_specialization() -> None:
    """The first is chosen by its code, the others are spelled; of one that is cut in its name nothing is told."""
    parallel = replace(CALLS, parallel=True)
    again = ('\n{"name": "stop", "arguments":', "")
    for most, expected, reason in ((500, ["find", "stop"], "tool_calls"), (24, ["find"], "length")):
        engine = ScriptedEngine([], FakeLoader(), context_tokens=5_000, sequences=9)
        engine.script("find", ' {"unit": "km"}', *again)
        held = constrained(GREEDY, replace(parallel, codes=()), use=ToolUse())
        held = replace(held, sampling=replace(held.sampling, choices=("find", "stop", "none")))
        assert held.calls is not None
        calls = replace(held.calls, functions={each.name: each for each in parallel.functions})
        events = [
            event
            for event in call_functions(engine, engine.open(), PROMPT, 0, held.sampling, calls, (), most, 0)
            if event is not None
        ]
        assert ([name for name, _ in added(events)[1]], events[-1].reason) == (expected, reason)
    text = "".join(event.text for event in with_calls_as_text(iter(events)) if isinstance(event, TextPiece))
    assert text == '{"name": "find", "arguments": {"unit": "km"}}'


@pytest.mark.parametrize(
    ("second", "most", "units", "reason"),
    [
        (' {"unit": "km"}', 500, ["km"], "tool_calls"),
        (' {"place": null, "unit": "km"}', 500, ["km"], "tool_calls"),  # the same to a client
        (' {"unit": "mi"}', 500, ["km", "mi"], "tool_calls"),
        (' {"unit": "km"}', 87, ["km", ""], "length"),  # nobody knows what it would have been
    ],
)
def test_specialization_that_makes_a_call_again_ends_there(
    second: str, most: int, units: list[str], reason: str
) -> None:
    """One that was trained on single calls repeats itself, up to the last call that an answer may have."""
    between = '\n{"name": "find", "arguments":'
    engine = ScriptedEngine([], FakeLoader(), context_tokens=5_000, sequences=9)
    engine.script(FIND_HEAD, ' {"unit": "km"}', between, second, "")
    held = constrained(GREEDY, replace(CALLS, codes=(), parallel=True))
    assert held.calls is not None
    calls = call_functions(engine, engine.open(), PROMPT, 0, held.sampling, held.calls, (), most, 0)
    _, made, ended = added([event for event in calls if event is not None])
    found = [arguments.rpartition('": "')[2].removesuffix('"}') if "}" in arguments else "" for _, arguments in made]
    assert (found, ended) == (units, reason)
