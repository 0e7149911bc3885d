"""Rule: which fields of a request are accepted although nothing is done with them.

A field is accepted when it changes no answer, or when its value says what happens anyway. Every other field that this
server does not know is refused by name, never ignored: its client counts on it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from edge_runtime.errors import InvalidRequestError

_ANY = object()
"""Any value is neutral."""

Neutral = Mapping[str, tuple[Any, ...]]
"""Names of fields, and the values of each that are accepted; null is accepted besides."""

REQUEST: Neutral = {
    **dict.fromkeys(
        ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "keep_alive"), (_ANY,)
    ),
    **dict.fromkeys(("prompt_cache_retention", "cache_prompt", "request_id"), (_ANY,)),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "min_tokens": (0,),
    "stop_token_ids": ([],),
    "ignore_eos": (False,),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "bad_words": ([],),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "documents": ([],),
    "typical_p": (1,),
    "mirostat": (0,),
    "xtc_probability": (0,),
    "dry_multiplier": (0,),
}

RESPONSES: Neutral = {
    **dict.fromkeys(("user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"), (_ANY,)),
    "prompt_cache_retention": (_ANY,),
    "store": (False,),
    "background": (False,),
    "include": ([],),
    "truncation": ("disabled",),
    "top_logprobs": (0,),
    "stream_options": ({}, {"include_obfuscation": False}),
    "reasoning": ({}, {"effort": "none"}),
}

OLLAMA: Neutral = {
    "template": ("",),
    "suffix": ("",),
    "images": ([],),
    "context": ([],),
    "logprobs": (False,),
    "top_logprobs": (0,),
}

OLLAMA_OPTIONS: Neutral = {
    **dict.fromkeys(("num_ctx", "num_thread", "num_gpu", "num_batch", "num_keep", "main_gpu", "numa"), (_ANY,)),
    **dict.fromkeys(("use_mmap", "use_mlock", "low_vram", "f16_kv", "logits_all", "vocab_only"), (_ANY,)),
    "typical_p": (1,),
    "tfs_z": (1,),
    "mirostat": (0,),
}

OLLAMA_MESSAGE: Neutral = {"images": ([],), "thinking": ("",)}

MESSAGE: Neutral = {
    **dict.fromkeys(("name", "id", "annotations"), (_ANY,)),
    "refusal": ("",),
    "function_call": (),
    "audio": (),
}


_LENGTH = "'max_tokens' says how long an answer may be"
_FORM = "'response_format' takes a JSON Schema, 'structured_outputs' a list of choices"
_SAMPLING = (
    "leave it out; sampling has 'temperature', 'top_p', 'top_k', 'min_p', 'repeat_penalty', 'frequency_penalty', "
    "'presence_penalty', 'logit_bias' and 'seed'"
)
_THINKING = "variables of the model's chat template, such as 'enable_thinking', go into 'chat_template_kwargs'"
_STATELESS = "nothing is stored: send the whole conversation as 'input'"

REQUEST_HINTS: Mapping[str, str] = {
    **dict.fromkeys(("n_predict", "num_predict", "max_new_tokens", "max_length"), _LENGTH),
    "stop_sequences": "'stop' takes what ends an answer",
    **dict.fromkeys(("grammar", "json_schema", "format"), _FORM),
    **dict.fromkeys(("guided_json", "guided_choice", "guided_regex", "guided_grammar"), _FORM),
    **dict.fromkeys(("typical_p", "mirostat", "xtc_probability", "dry_multiplier", "best_of", "options"), _SAMPLING),
    **dict.fromkeys(("reasoning_effort", "enable_thinking"), _THINKING),
    **dict.fromkeys(("lora", "lora_adapter"), "'model' names the specialization"),
    **dict.fromkeys(("functions", "function_call"), "'tools' and 'tool_choice' are their successors"),
}
"""What to do instead of a field, where there is something."""

MESSAGE_HINTS: Mapping[str, str] = {"function_call": "'tool_calls' is its successor"}

RESPONSES_HINTS: Mapping[str, str] = {
    **dict.fromkeys(("previous_response_id", "conversation", "store", "background"), _STATELESS),
    "reasoning": _THINKING,
    "max_tokens": "'max_output_tokens' says how long an answer may be",
    "messages": "'input' takes the conversation",
}


def verify_neutral(
    fields: Mapping[str, Any] | None, neutral: Neutral, hints: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Check the fields that a body has beside those that are read.

    Args:
        fields: Those.
        neutral: What is accepted.
        hints: What to do instead of one that is not.

    Raises:
        InvalidRequestError: One would change the answer, or may.
    """
    for field, value in (fields or {}).items():
        # 0 equals False, but `"best_of": false` is no count.
        if not any(
            each is _ANY or (value == each and isinstance(value, bool) is isinstance(each, bool))
            for each in neutral.get(field, ())
        ):
            raise InvalidRequestError(
                f"{ascii(field)[:80]} is not supported by this server",
                hints.get(field, "leave it out; the fields that are known are at /docs"),
                code="unsupported_parameter",
                field=ascii(field)[1:-1][:80],
            )
