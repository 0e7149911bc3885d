"""The nano tokenizer and the chat template that training, service and device share."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from training.fit.tokenizer import SPECIAL_TOKENS


def test_chat_template_is_the_agreed_layout(tokenizer: PreTrainedTokenizerFast) -> None:
    """Everything is said by the template: the tokenizer adds nothing of its own."""
    messages = [{"role": "system", "content": "Route."}, {"role": "user", "content": "hi"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|bos|><|system|>Route.<|user|>hi<|assistant|>"
    answered = [*messages, {"role": "assistant", "content": "ok"}]
    assert tokenizer.apply_chat_template(answered, tokenize=False) == (
        "<|bos|><|system|>Route.<|user|>hi<|assistant|>ok<|end|>"
    )
    assert tokenizer("hi")["input_ids"] == tokenizer("hi", add_special_tokens=False)["input_ids"]


def test_special_tokens_come_first_and_stay_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == list(range(6))
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == ("<|pad|>", "<|bos|>", "<|end|>")
    assert tokenizer("a<|end|>")["input_ids"][-1] == tokenizer.eos_token_id
    assert len(tokenizer) <= 400


def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Byte level: nothing is unknown, no space is cleaned up; the same after a round over the disk."""
    text = "  Naïve  café , 東京\t\n it 's 7 ."
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(text)["input_ids"] == ids
    assert loaded.decode(ids) == text
    assert loaded.chat_template == tokenizer.chat_template
