"""What a task tells to answer where none of its tools fits."""

import time

import pytest

from cloud_service.answer.contract import find_answer
from cloud_service.answer.no_tool import none_answer, says_what_else
from cloud_service.limits import MAX_DESCRIPTION_CHARS
from cloud_service.task import TaskDescription, Tool
from loragen.contract.answer import AnswerContract, Function

STATED = {
    'Pick the tool for the request. If none of the tools fits, answer "none".': "none",
    "Route the request to a tool, or answer none if nothing fits.": "none",
    "Choose a tool. Say no_tool when the user just chats.": "no_tool",
    "Choose a tool. For small talk answer no_tool.": "no_tool",
    "Choose the right function. If no function applies, output NO_CALL.": "NO_CALL",
    "Pick a tool; reply with none if the request cannot be served.": "none",
    "Pick a tool. If the request is out of scope, respond with OUT_OF_SCOPE.": "OUT_OF_SCOPE",
    "Pick a tool. Irrelevant requests: none.": "none",
    "Pick a tool. When no tool is suitable, return 'null'.": "null",
    "Pick a tool. If you cannot find a suitable tool, say unsupported.": "unsupported",
    "Pick a tool. Unknown requests go to fallback.": "fallback",
    'Pick a tool. "none" means that no tool fits.': "none",
    "Pick a tool. Answer with none if there is no suitable tool.": "none",
    "Pick a tool. If a request needs no tool, answer none.": "none",
    "Pick a tool. In case no tool matches, answer with `none`.": "none",
    "Pick a tool. Should no tool fit, answer none.": "none",
    "Pick a tool. If it's unclear which tool is meant, answer unclear.": "unclear",
    "Pick a tool. If none is appropriate, just write -.": "-",
    "Pick one of the tools or none.": "none",
    "Which tool serves the request? none if there is none.": "none",
    'If the user wants what no tool can do, answer with "Sorry, I can\'t do that."': "Sorry, I can't do that.",
    "Pick a tool. If no tool is relevant, the answer is irrelevant.": "irrelevant",
    "Pick a tool. No tool fits: answer none.": "none",
    "Pick a tool. Answer with the word none whenever no tool fits.": "none",
    "Pick a tool. Otherwise, reply with none.": "none",
    'Select the function to call. In case none is suitable use "no_function".': "no_function",
    "You route requests. Anything that is not about music or alarms: other.": "other",
    "Pick the tool. Requests that no tool can serve get none.": "none",
    "Which tool? Answer 'n/a' if there's no match.": "n/a",
    "Pick the tool. If the message is just a greeting, answer none.": "none",
    'Pick the tool for the user\'s wish. Use "unknown" if you are not sure.': "unknown",
    "Pick a tool, or none.": "none",
    "Pick the tool. Output: a tool name or null.": "null",
    "Pick the tool. Answer none where neither of them helps.": "none",
    "Pick the tool. For off-topic messages say off_topic.": "off_topic",
    "Pick the tool. A request outside of these areas is answered with none.": "none",
    "Pick the tool. none = no tool needed.": "none",
    "Pick a tool. If no tool fits, use the tool nothing_fits.": "nothing_fits",
}

NOT_STATED = (
    "Pick a tool. If the user says nothing, answer in English.",
    "Pick the tool that serves the request and is not used for anything else.",
    "Pick a tool. All other requests are ignored.",
    "Pick a tool. Use play_music for everything else.",
    "Pick a tool. There is no other tool.",
    "Pick a tool. If the request is not clear, choose the tool that is likelier.",
    "Pick a tool. If a song is not named, choose any.",
    "Pick a tool. When the user says no, answer with the tool that undoes it.",
    "You control a phone. When it is not locked, use the tools.",
    "Pick a tool. If the request is not in English, answer all the same.",
    "Answer with the tool's name, in lower case, if it is not already.",
    "The assistant is used in cars. If the driver cannot look at the screen, use speech.",
    "Pick a tool. Do not answer anything else.",
    "Pick a tool. No explanations: just the name.",
    "Pick a tool. Say the name, nothing else.",
)
"""Sentences that say nothing of what no tool serves."""

OPEN = (
    "Pick a tool. If no tool fits, ask the user what is meant.",
    "Pick a tool. If none fits, answer the question yourself.",
    "Pick a tool. If no tool fits, reply politely.",
    "Pick a tool. If none of the tools fits, say so.",
    "Pick a tool. If no tool fits, give up.",
    "Pick a tool. If no tool fits, give advice.",
    "Pick a tool. Otherwise, apologize.",
    "Pick a tool. Otherwise decline.",
)
"""Such an answer is any text."""

TOOLS = (Tool("play_music", "Plays a song."), Tool("set_alarm", "Sets an alarm."))
CALLED = "Turn the request into a function call. "


@pytest.mark.parametrize(("description", "expected"), STATED.items())
def test_answer_is_found_in_the_words_that_people_use(description: str, expected: str) -> None:
    assert none_answer(description) == expected


@pytest.mark.parametrize("description", NOT_STATED)
def test_sentence_about_something_else_adds_no_answer(description: str) -> None:
    assert none_answer(description) in (None, "play_music")
    assert find_answer(TaskDescription(description, tools=TOOLS)).choices == ("play_music", "set_alarm")


@pytest.mark.parametrize("description", OPEN)
def test_words_that_say_how_to_answer_are_no_answer(description: str) -> None:
    assert none_answer(description) is None
    assert says_what_else(description)
    assert find_answer(TaskDescription(description, tools=TOOLS)).kind == "text"


def test_tool_that_stands_for_the_rest_is_called_like_the_others() -> None:
    functions = (Function("play_music"), Function("set_alarm"))
    for rule in ("If no other tool fits, use set_alarm.", "If nothing else fits, use the function set_alarm."):
        found = find_answer(TaskDescription(CALLED + rule, tools=TOOLS))
        assert found == AnswerContract("tool_calls", functions=functions)
    assert find_answer(TaskDescription("Pick a tool. " + rule, tools=TOOLS)).choices == ("play_music", "set_alarm")


@pytest.mark.parametrize(
    "part", ["if it not ", "if no ", "answer a if it ", "if the a small talk ", "none ", "'a' if ", "for "]
)
def test_time_is_bounded_whatever_repeats(part: str) -> None:
    text = (part * MAX_DESCRIPTION_CHARS)[:MAX_DESCRIPTION_CHARS]
    sentences = (f"{part * 20}. " * MAX_DESCRIPTION_CHARS)[:MAX_DESCRIPTION_CHARS]
    started = time.process_time()
    none_answer(text)
    none_answer(sentences)
    assert time.process_time() - started < 3.0  # a second at most was measured
