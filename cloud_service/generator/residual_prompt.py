"""The residual prompt: the little of a task description that stays in front of each input on the device.

A model of a hundred million parameters does an open task better when its LoRA tells it how to answer and a few words
still tell it what. A device reads them once for each slot and keeps them, so that they cost memory and hardly any time.
"""

from transformers import PreTrainedTokenizerBase

from loragen.contract.errors import ContractError
from loragen.contract.residual_prompt import verify_residual_prompt


def residual_prompt(text: str, tokenizer: PreTrainedTokenizerBase, longest: int) -> tuple[str, int]:
    """The residual prompt of a task, and its tokens.

    Args:
        text: What may be kept, `cloud_service.task.residual_text`.
        tokenizer: Of the edge model.
        longest: Tokens that a residual prompt may have; 0 for a generator without.

    Returns:
        The text, or an empty one when it is longer than that, or a recipe cannot hold it. It is never cut, because half
        a description may say the opposite of the whole.
    """
    if not text or not longest:
        return "", 0
    try:
        verify_residual_prompt(text)
    except ContractError:
        return "", 0
    tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    return (text, tokens) if 0 < tokens <= longest else ("", 0)
