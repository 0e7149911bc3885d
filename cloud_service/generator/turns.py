"""Token ids of one turn as a device's model sees it: the question by the model's own chat template, and the answer."""

from functools import lru_cache

from transformers import PreTrainedTokenizerBase


def question_ids(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None = None) -> list[int]:
    """Ids up to where the answer begins. Without a chat template, a plain layout of lines."""
    if tokenizer.chat_template is None:
        head = "" if system is None else system + "\n\n"
        return list(tokenizer(f"{head}{text}\n")["input_ids"])
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": text})
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def answer_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of an answer with its end."""
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], end_of_answer(tokenizer)]


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
