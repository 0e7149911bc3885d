"""Helper: chat templates that write tools and calls as well-known families do, and one that knows neither."""

from collections.abc import Mapping, Sequence
from typing import Any

from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from edge_runtime.serving.call_forms import CallForm, find_call_form

HERMES = """\
{%- if tools %}{{ '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}{{ '# Tools\\n<tools>' }}
{%- for tool in tools %}{{ '\\n' + tool | tojson }}{% endfor %}{{ '\\n</tools><|im_end|>\\n' }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'user' or (m.role == 'system' and not tools) %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}{{ '<|im_start|>assistant' }}{% if m.content %}{{ '\\n' + m.content }}{% endif %}
{%- for call in m.tool_calls %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\\n' }}
{%- elif m.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"""
"""As Qwen's and Hermes's."""

BARE = """\
{{- bos_token }}{% for m in messages %}
{%- if m.tool_calls %}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{%- set call = m.tool_calls[0].function %}{{ '<|start|>assistant<|end|>\\n\\n' }}
{{- '{"name": "' + call.name + '", "parameters": ' + call.arguments | tojson + '}' }}{{ '<|eot|>' }}
{%- else %}{{ '<|start|>' + ('ipython' if m.role == 'tool' else m.role) + '<|end|>\\n\\n' }}
{%- if tools and loop.index0 == 0 %}{% for t in tools %}{{ t | tojson(indent=4) + '\\n\\n' }}{% endfor %}{% endif %}
{{- m.content | trim + '<|eot|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant<|end|>\\n\\n' }}{% endif %}"""
"""As Llama 3's."""

MARKED = """\
{{- bos_token }}{% if tools %}{{ '<start_of_turn>developer\\n' }}{% for t in tools %}
{{- '<start_function_declaration>declaration:' + t.function.name + '{description:<escape>' }}
{{- t.function.description + '<escape>}<end_function_declaration>' }}{% endfor %}{{ '<end_of_turn>\\n' }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}
{{- '<start_function_response>response:' + m.name + '{value:<escape>' + m.content + '<escape>}' }}
{{- '<end_function_response>' }}
{%- else %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content }}
{%- for call in m.tool_calls %}{{ '<start_function_call>call:' + call.function.name + '{' }}
{%- for k, v in call.function.arguments.items() %}{{ k + ':' }}
{{- '<escape>' + v + '<escape>' if v is string else v | tojson }}{% if not loop.last %},{% endif %}{% endfor %}
{{- '}<end_function_call>' }}{% endfor %}
{%- if not m.tool_calls %}{{ '<end_of_turn>\\n' }}{% endif %}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
"""As FunctionGemma's."""

PLAIN = """\
{% for m in messages %}{% if m.role not in ('system', 'user', 'assistant') %}
{{- raise_exception('no such role') }}{% endif %}{{ '[' + m.role + ']' + m.content }}{% endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}"""


class FormattedTemplate:
    """A template as llama.cpp's bindings run it, without a model."""

    bos_text = "<bos>"

    def __init__(self, template: str) -> None:
        self._formats = {
            answer: Jinja2ChatFormatter(template, "<eos>", self.bos_text, add_generation_prompt=answer)
            for answer in (True, False)
        }

    @property
    def call_form(self) -> CallForm | None:
        return find_call_form(lambda messages, tools: self.apply_template(messages, False, tools=tools))

    def apply_template(self, messages: Sequence[Mapping[str, Any]], answer: bool, **variables: Any) -> str:
        return str(self._formats[answer](messages=list(messages), **variables).prompt)
