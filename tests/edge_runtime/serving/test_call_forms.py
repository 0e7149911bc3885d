"""How models write calls is read off their templates, and calls are read in these forms."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.serving.call_forms import HERMES_FORM, OWN_FORM, CallForm, find_call_form
from edge_runtime.serving.chat import FunctionCall
from tests.edge_runtime.serving.templates import BARE, HERMES, MARKED, PLAIN, FormattedTemplate

MARKED_FORM = CallForm("<start_function_call>call:", "", "<end_function_call>", "", "<escape>")


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (HERMES, HERMES_FORM),
        (BARE, CallForm("", "parameters")),
        (MARKED, MARKED_FORM),
        (PLAIN, None),
        (HERMES.replace("<tool_call>\\n", "[TOOL_CALLS][").replace("\\n</tool_call>", "]"),
         CallForm("[TOOL_CALLS][", "arguments", "]", "\n")),
    ],
)  # fmt: skip
def test_form_is_read_off_a_template(template: str, form: CallForm | None) -> None:
    assert FormattedTemplate(template).call_form == form


@pytest.mark.parametrize(
    "broken", ["{{ raise_exception('x') }}", "", "{% for m in messages %}{{ m.tool_calls }}{% endfor %}"]
)
def test_template_that_shows_no_calls_has_no_form(broken: str) -> None:
    assert FormattedTemplate(broken).call_form is None


def test_template_that_fails_in_any_way_has_no_form() -> None:
    def fail(*_: Any) -> str:
        raise ZeroDivisionError

    assert find_call_form(fail) is None


def test_own_form_is_that_of_the_weights() -> None:
    call = FunctionCall("find", '{"unit": "km"}')
    assert OWN_FORM.text_of(call) == '{"name": "find", "arguments": {"unit": "km"}}'
    assert OWN_FORM.text_of(call) == OWN_FORM.beginning_of("find") + " " + call.arguments + "}"


@pytest.mark.parametrize(
    ("form", "text", "arguments"),
    [
        (HERMES_FORM, '{"name": "find", "arguments": {"place": "Zürich"}}', {"place": "Zürich"}),
        (HERMES_FORM, ' {"name": "find"}\n', {}),
        (CallForm("", "parameters"), '{"name": "find", "parameters": {"a": [1, null]}}', {"a": [1, None]}),
        (MARKED_FORM, "find{}", {}),
        (MARKED_FORM, "find{place:<escape>Zü, {x}: [rich]<escape>,days:3}", {"place": "Zü, {x}: [rich]", "days": 3}),
        (
            MARKED_FORM,
            "find{a:[true,<escape><escape>],b:{c:1.5,d:null}}",
            {"a": [True, ""], "b": {"c": 1.5, "d": None}},
        ),
        (MARKED_FORM, "find{place:New York}", {"place": "New York"}),
    ],
)
def test_call_is_read(form: CallForm, text: str, arguments: Any) -> None:
    call = form.parse(text)
    assert call is not None
    assert (call.name, json.loads(call.arguments)) == ("find", arguments)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        *(
            (HERMES_FORM, text)
            for text in ("", "find", "[]", '{"name": 1}', '{"name": "f", "arguments": "x"}', "{" * 2_000)
        ),
        *(
            (MARKED_FORM, text)
            for text in ("", "find", "find{", "find{a:1", "find{a:1}}", "{a:1}", "find{a}", "find[1]")
        ),
        *((MARKED_FORM, text) for text in ("find{a:[1}", "find{a:1}x", "find{,}", "f{a:" + "[" * 50_000)),
    ],
)
def test_what_is_no_call_is_none(form: CallForm, text: str) -> None:
    assert form.parse(text) is None


@given(st.text(alphabet='fa{}[]:,"<escape> 1', max_size=60))
def test_any_text_is_read_or_none(text: str) -> None:
    for form in (HERMES_FORM, MARKED_FORM, CallForm("", "", "", quote="")):
        call = form.parse(text)
        assert call is None or isinstance(json.loads(call.arguments), dict)
