"""The residual prompt: a short text that a specialization keeps in front of each input, as system message.

An open task is done better when the LoRA tells a small model how to answer and a few words still tell it what. The
generator decides whether there is one (`cloud_service.generator.residual_prompt`), and trains with it; the device puts
it in front of each chat. A text that is empty stands for none.
"""

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.fields import verify_count
from loragen.contract.limits import MAX_PROMPT_TOKENS, MAX_RESIDUAL_PROMPT_BYTES


def verify_residual_prompt(text: str) -> str:
    """Return `text` when it may be a residual prompt; it is kept as it is, white space included.

    Raises:
        FormatError: It has half of a surrogate pair, or a NUL, with which llama.cpp ends a text.
        LimitError: It is longer than `MAX_RESIDUAL_PROMPT_BYTES`.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as e:
        raise FormatError("residual prompt: expected Unicode, found half a surrogate pair") from e
    if "\0" in text:
        raise FormatError("residual prompt: expected text without NUL")
    if size > MAX_RESIDUAL_PROMPT_BYTES:
        raise LimitError(f"residual prompt: expected at most {MAX_RESIDUAL_PROMPT_BYTES} bytes, found {size}")
    return text


def verify_counted(text: str, tokens: int) -> None:
    """Check a residual prompt and its length in tokens of the edge model, which is 0 for none and only then.

    Raises:
        FormatError: As for `verify_residual_prompt`, or text and count contradict each other.
        LimitError: One of them is too long.
    """
    verify_residual_prompt(text)
    verify_count(tokens, "residual_prompt_tokens", 0, MAX_PROMPT_TOKENS)
    if bool(text) != bool(tokens):
        raise FormatError(f"residual prompt: found {len(text)} characters, and a count of {tokens} tokens")
