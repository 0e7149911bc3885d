"""Conversations are rendered by the model's template, without a system prompt that nobody asked for."""

import pytest
from jinja2 import Environment
from jinja2.exceptions import TemplateError

from loragen.contract.chat_format import Messages, Render, render_chat

CHATML = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}{% if answer %}<s>assistant\n{% endif %}"
)
WITH_DEFAULT = "{% if messages[0].role != 'system' %}<s>system\nBe good.</s>\n{% endif %}" + CHATML
TURNS = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}<eot>{% endfor %}{% if answer %}[assistant]{% endif %}"
)
LLAMA_3 = "<bos>" + TURNS
WITH_DATE = (
    "<bos>[system]Today is Monday. {% if messages[0].role == 'system' %}{{ messages[0].content }}"
    "{% set messages = messages[1:] %}{% endif %}<eot>" + TURNS
)
GEMMA = "<bos>{% for m in messages %}{% if m.role == 'system' %}{{ refuse() }}{% endif %}[{{ m.content }}]{% endfor %}"
LLAMA_2 = (
    "{% set system = '<<' ~ messages[0].content ~ '>>' if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}"
    "<bos>[INST]{% if loop.first %}{{ system }}{% endif %}{{ m.content }}[/INST]{% endfor %}"
)
ASKED = [{"role": "user", "content": "Hello"}]
GOING_ON = [*ASKED, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go on."}]
TOLD = [{"role": "system", "content": "Be brief."}, *ASKED]


def renderer(template: str) -> Render:
    def refuse() -> str:
        raise TemplateError("no system message")

    compiled = Environment(keep_trailing_newline=True).from_string(template)

    def render(messages: Messages, answer: bool) -> str:
        return compiled.render(messages=messages, answer=answer, refuse=refuse)

    return render


@pytest.mark.parametrize("template", [CHATML, LLAMA_3, GEMMA, LLAMA_2])
@pytest.mark.parametrize("messages", [ASKED, GOING_ON])
@pytest.mark.parametrize("bos", ["", "<bos>", "<s>"])
def test_template_without_a_system_prompt_of_its_own_is_followed(template: str, messages: Messages, bos: str) -> None:
    render = renderer(template)
    assert render_chat(render, messages, bos) == render(messages, True)


@pytest.mark.parametrize("messages", [ASKED, GOING_ON])
@pytest.mark.parametrize("bos", ["", "<s>"])
def test_default_system_prompt_is_left_out(messages: Messages, bos: str) -> None:
    """Also where the beginning of a turn is called the beginning of the text."""
    assert render_chat(renderer(WITH_DEFAULT), messages, bos) == renderer(CHATML)(messages, True)


def test_beginning_of_the_text_stays() -> None:
    assert render_chat(renderer(WITH_DATE), ASKED, "<bos>") == "<bos>[user]Hello<eot>[assistant]"


@pytest.mark.parametrize("template", [CHATML, WITH_DEFAULT, LLAMA_3, WITH_DATE, LLAMA_2])
def test_system_message_of_the_request_stays(template: str) -> None:
    render = renderer(template)
    assert render_chat(render, TOLD, "<bos>") == render(TOLD, True)


def test_what_a_template_refuses_is_refused() -> None:
    with pytest.raises(TemplateError):
        render_chat(renderer(GEMMA), TOLD, "<bos>")
