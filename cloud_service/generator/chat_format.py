"""Token ids of one turn as a device's model sees it: the question by the model's own chat template, and the answer."""

from functools import lru_cache

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase


def question_ids(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None = None) -> list[int]:
    """Ids up to where the answer begins, as a device that serves the model has them.

    Without a chat template, a plain layout of lines. Where the template knows no system role, as Gemma's, the system
    prompt begins the user's turn.
    """
    if tokenizer.chat_template is None:
        head = "" if system is None else system + "\n\n"
        return list(tokenizer(f"{head}{text}\n")["input_ids"])
    turns = [{"role": "user", "content": text}]
    if system is None:
        rendered = _render(tokenizer, turns)
    else:
        try:
            rendered = _render(tokenizer, [{"role": "system", "content": system}, *turns])
        except TemplateError:
            rendered = _render(tokenizer, [{"role": "user", "content": f"{system}\n\n{text}"}])
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def answer_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of an answer with its end.

    Those that continue a line: a sentencepiece tokenizer puts a space before a text of its own, which devices would
    then see before every answer.
    """
    line, both, alone = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("\n", f"\n{text}", text))
    ids = both[len(line) :] if both[: len(line)] == line else alone
    return [*ids, end_of_answer(tokenizer)]


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


@lru_cache(maxsize=8)
def end_of_answer(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that the model ends an answer with: the one with which its chat template closes the assistant's turn.

    In many families that is another one than the end of a text (`<|im_end|>` and `<|endoftext|>`).
    """
    end: int = tokenizer.eos_token_id
    if tokenizer.chat_template is None:
        return end
    turns = [{"role": "user", "content": "Question"}, {"role": "assistant", "content": "Answer"}]
    rendered = str(tokenizer.apply_chat_template(turns, tokenize=False))
    after = tokenizer(rendered[rendered.rindex("Answer") + len("Answer") :], add_special_tokens=False)["input_ids"]
    added = tokenizer.added_tokens_decoder.get(after[0]) if after else None
    return int(after[0]) if added is not None and added.special else end
