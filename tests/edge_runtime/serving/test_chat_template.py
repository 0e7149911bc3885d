"""Chat templates render as llama-cpp-python renders them, and stay in their sandbox."""

from datetime import datetime

import pytest
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from edge_runtime.serving.chat_template import ChatTemplate

MESSAGES = [{"role": "user", "content": "Zürich <b>"}, {"role": "assistant", "content": "ja"}]
TOOLS = [{"name": "f", "parameters": {"x": "é"}}]

TEMPLATES = [
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m['content'] }}{{ eos_token }}\n{% endfor %}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}{{ messages | tojson }}",
    "{% if functions is none and tool_choice is none %}none{% endif %}{{ thinking | default('off') }}",
    "  {% if add_generation_prompt %}\n  <answer>\n  {% endif %}\nend",
]


@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("variables", [{}, {"tools": TOOLS}, {"thinking": True}])
def test_renders_as_llama_cpp_python_does(source: str, answer: bool, variables: dict[str, object]) -> None:
    expected = Jinja2ChatFormatter(source, "</s>", "<s>", add_generation_prompt=answer)(messages=MESSAGES, **variables)
    assert ChatTemplate(source, "</s>", "<s>", answer).render(MESSAGES, **variables) == expected.prompt


def test_template_may_refuse_and_may_ask_for_the_date() -> None:
    with pytest.raises(ValueError, match="no system"):
        ChatTemplate("{{ raise_exception('no system') }}", "", "", True).render(MESSAGES)
    year = ChatTemplate("{{ strftime_now('%Y') }}", "", "", True).render(MESSAGES)
    assert abs(int(year) - datetime.now().astimezone().year) <= 1


def test_template_that_does_not_compile_is_refused() -> None:
    with pytest.raises(TemplateSyntaxError):
        ChatTemplate("{% for m in %}", "", "", True)


@pytest.mark.parametrize("source", ["{{ messages.append(1) }}", "{{ ''.__class__.__mro__ }}"])
def test_template_can_neither_change_messages_nor_leave_the_sandbox(source: str) -> None:
    with pytest.raises(SecurityError):
        ChatTemplate(source, "", "", True).render(MESSAGES)
