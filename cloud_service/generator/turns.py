"""Token ids of one turn as a device's model sees it: the question by the model's own chat template, and the answer."""

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
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
