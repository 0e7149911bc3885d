"""Helper: answer contracts, and GGUF files that carry one."""

from pathlib import Path

from loragen.contract.answer import AnswerContract, encode_answer
from loragen.contract.gguf_header import Value, lay_out, read_header
from loragen.contract.gguf_header import text as text_value
from loragen.contract.names import ANSWER_CONTRACT

DESKS = AnswerContract("choice", ("billing", "delivery", "Zürich desk"), (65, 66, 67))
"""Three texts, each with a code."""

SPELLED = AnswerContract("choice", ("billing", "delivery", "deliver"))
"""Three texts that the model spells."""


def with_answer(source: Path, path: Path, answer: AnswerContract | str | Value | None) -> Path:
    """A copy of a GGUF file whose metadata have an answer contract: as given, even when it is malformed, or none."""
    header = read_header(source)
    metadata = {key: value for key, value in header.metadata.items() if key != ANSWER_CONTRACT}
    if isinstance(answer, AnswerContract):
        answer = encode_answer(answer)
    if answer is not None:
        metadata[ANSWER_CONTRACT] = text_value(answer) if isinstance(answer, str) else answer
    head, placed = lay_out([(t.name, t.shape, t.type) for t in header.tensors], metadata)
    data = source.read_bytes()
    copied = bytearray(head.ljust(placed.file_bytes, b"\0"))
    for old, new in zip(header.tensors, placed.tensors, strict=True):
        copied[new.offset : new.offset + new.nbytes] = data[old.offset : old.offset + old.nbytes]
    path.write_bytes(copied)
    return path
