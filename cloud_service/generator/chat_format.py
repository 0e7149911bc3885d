"""Token ids of one turn as the device's model sees it: the question in the model's chat format, and the answer.

A control token that a text spells, such as `<|im_end|>`, is text here as it is on the device; only the template's own
are obeyed.
"""

from functools import lru_cache

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from loragen.contract.chat_format import Messages, render_chat
from loragen.contract.markup import ControlMarkup


def question_ids(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None = None) -> list[int]:
    """Ids up to where the answer begins, as a device that serves the model has them.

    Without a chat template, a plain layout of lines. Where the template knows no system role, as Gemma's, the system
    prompt begins the user's turn.
    """
    if tokenizer.chat_template is None:
        head = "" if system is None else system + "\n\n"
        return list(tokenizer(f"{head}{text}\n")["input_ids"])
    markup, plain = _control(tokenizer)
    messages = [{"role": "user", "content": markup.mark(text)}]
    if system is None:
        rendered = _render(tokenizer, messages)
    else:
        system = markup.mark(system)
        try:
            rendered = _render(tokenizer, [{"role": "system", "content": system}, *messages])
        except TemplateError:
            rendered = _render(tokenizer, [{"role": "user", "content": f"{system}\n\n{messages[0]['content']}"}])
    if not markup.is_marked(rendered):
        return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])
    ids: list[int] = []
    for part, is_control in markup.split(rendered):
        encoder = tokenizer.backend_tokenizer if is_control else plain
        ids += encoder.encode(part, add_special_tokens=False).ids
    return ids


def answer_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of an answer with its end.

    Those that continue a line: a sentencepiece tokenizer puts a space before a text of its own, which devices would
    then see before every answer.
    """
    return [*(token for token, _ in _answer_tokens(tokenizer, text)), end_of_answer(tokenizer)]


def answer_spans(tokenizer: PreTrainedTokenizerBase, text: str) -> list[tuple[int, int]]:
    """Where the ids of an answer, but for its end, stand in its text: the first character, and the one behind."""
    return [span for _, span in _answer_tokens(tokenizer, text)]


def _answer_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[tuple[int, tuple[int, int]]]:
    _, plain = _control(tokenizer)
    line, both, alone = (plain.encode(t, add_special_tokens=False) for t in ("\n", f"\n{text}", text))
    count = len(line.ids)
    if both.ids[:count] != line.ids:
        return list(zip(alone.ids, alone.offsets, strict=True))
    spans = [(start - 1, end - 1) for start, end in both.offsets[count:]]
    return list(zip(both.ids[count:], spans, strict=True))


def _render(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    def by_template(messages: Messages, answer: bool) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer))

    return render_chat(by_template, messages, tokenizer.bos_token or "")


@lru_cache(maxsize=8)
def _control(tokenizer: PreTrainedTokenizerBase) -> tuple[ControlMarkup, Tokenizer]:
    """The spelling of a tokenizer's control tokens, and a copy that takes them for text."""
    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.encode_special_tokens = True
    return ControlMarkup(token.content for token in tokenizer.added_tokens_decoder.values() if token.special), plain


@lru_cache(maxsize=8)
def end_of_answer(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that the model ends an answer with: the one with which its chat template closes the assistant's turn.

    In many families (`<|im_end|>`) it differs from the token that ends a text (`<|endoftext|>`).
    """
    end: int = tokenizer.eos_token_id
    if tokenizer.chat_template is None:
        return end
    messages = [{"role": "user", "content": "Question"}, {"role": "assistant", "content": "Answer"}]
    rendered = str(tokenizer.apply_chat_template(messages, tokenize=False))
    after = tokenizer(rendered[rendered.rindex("Answer") + len("Answer") :], add_special_tokens=False)["input_ids"]
    added = tokenizer.added_tokens_decoder.get(after[0]) if after else None
    return int(after[0]) if added is not None and added.special else end
