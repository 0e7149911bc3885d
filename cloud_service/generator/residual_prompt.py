"""The residual prompt: the little of a task description that stays in front of each input on the device.

A model of a hundred million parameters does an open task better when its LoRA tells it how to answer and a few words
still tell it what. A device reads them once for each slot and keeps them, so that they cost memory and hardly any time.
"""

from transformers import PreTrainedTokenizerBase

from cloud_service.task import TaskDescription


def residual_prompt(task: TaskDescription, tokenizer: PreTrainedTokenizerBase, longest: int) -> str:
    """The description and the output format of a task; tools and examples are left to the LoRA.

    Args:
        task: What a client described.
        tokenizer: Of the edge model.
        longest: Tokens that a residual prompt may have; 0 for a generator without.

    Returns:
        The text, or an empty one where it would be longer: half a description may say the opposite of the whole.
    """
    task = task.normalized()
    text = "\n".join(part for part in (task.description, task.output_format) if part)
    return text if text and len(tokenizer(text, add_special_tokens=False)["input_ids"]) <= longest else ""
