"""Helper: answer contracts, and GGUF files whose metadata say how they are to be served."""

from pathlib import Path

from loragen.contract.answer import AnswerContract, Function, encode_answer
from loragen.contract.gguf_header import Value, lay_out, read_header, uint32
from loragen.contract.gguf_header import text as text_value
from loragen.contract.names import ANSWER_CONTRACT, RESIDUAL_PROMPT

DESKS = AnswerContract("choice", ("billing", "delivery", "Zürich desk"), (65, 66, 67))
"""Three texts, each with a code."""

CALLS = AnswerContract(
    "tool_calls",
    codes=(65, 66, 67),
    functions=(
        Function(
            "find",
            '{"properties":{"place":{"maxLength":9,"type":"string"},"unit":{"enum":["km","mi"]}},'
            '"required":["unit"],"type":"object"}',
        ),
        Function("stop"),
    ),
    none="none",
)
"""A function with arguments, one without, and none of them, each with a code."""

SPELLED = AnswerContract("choice", ("billing", "delivery", "deliver"))
"""Three texts that the model spells."""


def with_answer(
    source: Path,
    path: Path,
    answer: AnswerContract | str | Value | None,
    residual_prompt: str | Value | None = None,
    context_tokens: int | None = None,
) -> Path:
    """A copy of a GGUF file whose metadata have these two: as given, even when they are malformed, or none.

    A model may be said to have been trained with a longer context.
    """
    header = read_header(source)
    metadata = {key: value for key, value in header.metadata.items() if key not in (ANSWER_CONTRACT, RESIDUAL_PROMPT)}
    if isinstance(answer, AnswerContract):
        answer = encode_answer(answer)
    for key, value in ((ANSWER_CONTRACT, answer), (RESIDUAL_PROMPT, residual_prompt)):
        if value is not None:
            metadata[key] = text_value(value) if isinstance(value, str) else value
    if context_tokens is not None:
        metadata["llama.context_length"] = uint32(context_tokens)
    head, placed = lay_out([(t.name, t.shape, t.type) for t in header.tensors], metadata)
    data = source.read_bytes()
    copied = bytearray(head.ljust(placed.file_bytes, b"\0"))
    for old, new in zip(header.tensors, placed.tensors, strict=True):
        copied[new.offset : new.offset + new.nbytes] = data[old.offset : old.offset + old.nbytes]
    path.write_bytes(copied)
    return path
