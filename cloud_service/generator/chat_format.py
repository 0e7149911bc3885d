"""The chat format of an edge model as token ids: a question in the model's own template, and the answer to it."""

from functools import lru_cache

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase


def question_ids(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None = None) -> list[int]:
    """Ids of everything before the answer, as a device sends them to the model.

    A model without a chat template gets plain lines. Where the template has no system role, as in Gemma's, the system
    prompt begins the user's message.
    """
    if tokenizer.chat_template is None:
        head = "" if system is None else system + "\n\n"
        return list(tokenizer(f"{head}{text}\n")["input_ids"])
    user = {"role": "user", "content": text}
    if system is None:
        rendered = _render(tokenizer, [user])
    else:
        try:
            rendered = _render(tokenizer, [{"role": "system", "content": system}, user])
        except TemplateError:
            rendered = _render(tokenizer, [{"role": "user", "content": f"{system}\n\n{text}"}])
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def answer_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of an answer and of the token that ends it.

    The answer is tokenized behind a line feed, which is cut off again: a sentencepiece tokenizer puts a space in front
    of a text of its own, and the LoRA would learn to begin every answer with a space.
    """
    line, both, alone = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("\n", f"\n{text}", text))
    ids = both[len(line) :] if both[: len(line)] == line else alone
    return [*ids, end_of_answer(tokenizer)]


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


@lru_cache(maxsize=8)
def end_of_answer(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer: the one with which the chat template closes the assistant's message.

    In many families it differs from the end of a text (`<|im_end|>` and `<|endoftext|>`).
    """
    end: int = tokenizer.eos_token_id
    if tokenizer.chat_template is None:
        return end
    messages = [{"role": "user", "content": "Question"}, {"role": "assistant", "content": "Answer"}]
    rendered = str(tokenizer.apply_chat_template(messages, tokenize=False))
    after = tokenizer(rendered[rendered.rindex("Answer") + len("Answer") :], add_special_tokens=False)["input_ids"]
    added = tokenizer.added_tokens_decoder.get(after[0]) if after else None
    return int(after[0]) if added is not None and added.special else end
