"""The residual prompt: the little of a task description that stays in front of each input on the device.

A model of a hundred million parameters does an open task better when its LoRA tells it how to answer and a few words
still tell it what. A device reads them once for each slot and keeps them, so that they cost memory and hardly any time.
"""

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase

from loragen.contract.errors import ContractError
from loragen.contract.residual_prompt import verify_residual_prompt


def residual_prompt(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, longest: int) -> tuple[str, int]:
    """The residual prompt of a task, and its tokens.

    Args:
        texts: What may be kept, the best first, `cloud_service.task.residual_texts`.
        tokenizer: Of the edge model.
        longest: Tokens that a residual prompt may have; 0 for a generator without.

    Returns:
        The first text that is no longer than that, and that a recipe can hold; an empty one where there is none. A text
        is never cut, because half a description may say the opposite of the whole.
    """
    for text in texts:
        try:
            verify_residual_prompt(text)
        except ContractError:
            continue
        tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"]) if longest else 0
        if 0 < tokens <= longest:
            return text, tokens
    return "", 0
