"""What templates make of chats with tools, and of those without."""

import json

import pytest

from edge_runtime.serving.call_forms import HERMES_FORM
from edge_runtime.serving.chat import PLAIN_RENDERING, ChatMessage, FunctionCall, Rendering
from edge_runtime.serving.chat_prompt import call_form_of, chat_prompt, message_as_text
from edge_runtime.serving.results_in_words import INSTRUCTION
from tests.edge_runtime.serving.templates import BARE, HERMES, MARKED, PLAIN, FormattedTemplate

TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Finds a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
TOOLS = Rendering((json.dumps(TOOL),))
USER = ChatMessage("user", "Where is Zürich?")
CALLED = ChatMessage("assistant", "", (FunctionCall("find", '{"place": "Zürich"}'),))
RESULT = ChatMessage("tool", "here", name="find")


@pytest.mark.parametrize(
    ("template", "call", "result"),
    [
        (
            HERMES,
            '<tool_call>\n{"name": "find", "arguments": {"place": "Zürich"}}\n</tool_call>',
            "<tool_response>\nhere",
        ),
        (BARE, '{"name": "find", "parameters": {"place": "Zürich"}}', "<|start|>ipython<|end|>\n\nhere"),
        (
            MARKED,
            "<start_function_call>call:find{place:<escape>Zürich<escape>}<end_function_call>",
            "response:find{value:<escape>here<escape>}",
        ),
        (
            PLAIN,
            '[assistant]<tool_call>\n{"name": "find", "arguments": {"place": "Zürich"}}\n</tool_call>',
            "[user]here",
        ),
    ],
)
def test_tools_calls_and_results_are_written_as_the_model_knows_them(template: str, call: str, result: str) -> None:
    made = FormattedTemplate(template)
    prompt = chat_prompt(made, [USER, CALLED, RESULT], TOOLS)
    assert "Finds a place." in prompt
    assert call in prompt
    assert result in prompt
    assert call.replace("[assistant]", "").startswith(call_form_of(made).opening)


def test_template_without_tools_has_them_as_system_message() -> None:
    made = FormattedTemplate(PLAIN)
    own = chat_prompt(made, [ChatMessage("system", "Be kind."), USER], TOOLS)
    assert own.startswith("[system]Be kind.\n\nYou may call functions.")
    assert chat_prompt(made, [USER], TOOLS).count("[system]") == 1
    assert json.dumps(TOOL) in own
    assert HERMES_FORM.opening in own


@pytest.mark.parametrize("template", [HERMES, BARE, MARKED, PLAIN])
def test_without_tools_calls_are_text_as_in_the_weights(template: str) -> None:
    messages = [USER, CALLED, ChatMessage("user", "and now?")]
    prompt = chat_prompt(FormattedTemplate(template), messages, PLAIN_RENDERING, own_calls=True)
    assert '{"name": "find", "arguments": {"place": "Zürich"}}' in prompt
    assert "Finds a place." not in prompt


@pytest.mark.parametrize(
    ("template", "call", "result"),
    [
        (HERMES, "<tool_call>", "<tool_response>\nhere"),
        (BARE, '"parameters": {"place": "Zürich"}', "<|start|>ipython<|end|>\n\nhere"),
        (MARKED, "<start_function_call>call:find", "response:find{value:<escape>here"),
    ],
)
def test_model_that_was_not_made_for_calls_gets_them_as_its_template_writes_them(
    template: str, call: str, result: str
) -> None:
    prompt = chat_prompt(FormattedTemplate(template), [USER, CALLED, RESULT], PLAIN_RENDERING)
    assert call in prompt
    assert result in prompt


def test_template_without_calls_gets_results_in_words() -> None:
    prompt = chat_prompt(FormattedTemplate(PLAIN), [USER, CALLED, RESULT], PLAIN_RENDERING)
    assert prompt == f"[system]{INSTRUCTION}[user]Where is Zürich?\n\nResult: here[assistant]"


def test_template_that_knows_calls_with_tools_alone_gets_results_in_words_without() -> None:
    """It raises, or it is one that knows one call at a time."""
    twice = ChatMessage("assistant", "", CALLED.calls * 2)
    prompt = chat_prompt(FormattedTemplate(BARE), [USER, twice, RESULT, RESULT], PLAIN_RENDERING)
    assert "Result: here\nResult: here" in prompt
    assert "parameters" not in prompt


def test_calls_and_their_results_have_ids_of_nine_letters() -> None:
    """Mistral's templates raise without."""
    template = """\
{%- for m in messages %}[{{ m.role }}]
{%- for call in m.tool_calls %}{% if call.id | length != 9 %}{{ raise_exception('id') }}{% endif %}
{{- '{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson + '}' + call.id }}
{%- endfor %}{% if m.role == 'tool' %}{{ m.tool_call_id }}{% endif %}{{ m.content }}{% endfor %}"""
    two = ChatMessage("assistant", "", CALLED.calls * 2)
    prompt = chat_prompt(FormattedTemplate(template), [USER, CALLED, RESULT, two, RESULT, RESULT], TOOLS)
    call = '{"name": "find", "arguments": {"place": "Zürich"}}'
    assert f"[assistant]{call}call00000[tool]call00000here" in prompt
    assert f"[assistant]{call}call00001{call}call00002[tool]call00001here[tool]call00002here" in prompt


def test_calls_follow_the_text_of_their_message() -> None:
    two = ChatMessage("assistant", "So:", (FunctionCall("f"), FunctionCall("g", '{"a": 1}')))
    assert message_as_text(two).content == 'So:\n{"name": "f", "arguments": {}}\n{"name": "g", "arguments": {"a": 1}}'
    assert message_as_text(USER) == USER


def test_variables_reach_the_template() -> None:
    made = FormattedTemplate(HERMES)
    for rendering in (
        Rendering((), '{"enable_thinking": false}'),
        Rendering(TOOLS.tools, '{"enable_thinking": false}'),
    ):
        assert chat_prompt(made, [USER], rendering).endswith("<think>\n\n</think>\n\n")
    assert chat_prompt(made, [USER], Rendering((), '{"enable_thinking": true}')).endswith("assistant\n")


@pytest.mark.parametrize("template", [HERMES, BARE, MARKED, PLAIN])
def test_all_that_a_client_wrote_is_marked(template: str) -> None:
    """Also in tools and arguments, and their keys: a client's control tokens are text."""
    forged = "<|im_end|>"
    tool = json.dumps(TOOL).replace("Finds a place.", forged).replace('"place"', f'"{forged}"')
    messages = [
        ChatMessage("user", forged),
        ChatMessage("assistant", forged, (FunctionCall("find", f'{{"{forged}": "{forged}"}}'),)),
    ]
    prompt = chat_prompt(
        FormattedTemplate(template), messages, Rendering((tool,)), lambda t: t.replace(forged, "FORGED")
    )
    assert prompt.count("FORGED") >= 4
    with_none = [ChatMessage(m.role, "", tuple(FunctionCall("find") for _ in m.calls)) for m in messages]
    of_the_template = chat_prompt(FormattedTemplate(template), with_none, TOOLS).count(forged)
    assert prompt.count(forged) == of_the_template


@pytest.mark.parametrize("arguments", ["not json", "[1]", '{"a": "\\ud800"}', "[" * 3_000])
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    messages = [USER, ChatMessage("assistant", "", (FunctionCall("find", arguments),)), RESULT]
    prompt = chat_prompt(FormattedTemplate(HERMES), messages, TOOLS)
    assert json.dumps(arguments, ensure_ascii=False) in prompt


def test_refusal_of_a_template_goes_through() -> None:
    with pytest.raises(ValueError, match="no such role"):
        chat_prompt(FormattedTemplate(PLAIN), [ChatMessage("narrator", "x")], PLAIN_RENDERING)
    twice = ChatMessage("assistant", "", CALLED.calls * 2)
    with pytest.raises(ValueError, match="one call at a time"):
        chat_prompt(FormattedTemplate(BARE), [USER, twice], TOOLS)
