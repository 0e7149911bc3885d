"""The answer contract: what an answer of a specialization may look like. It travels with recipe and bundle.

Its text is canonical JSON of one form for each kind: `{"type":"text"}`, or
`{"choices":["billing","delivery"],"codes":[330,389],"type":"choice"}`.
The cloud derives it from a request; the device enforces it.
"""

import json
from dataclasses import dataclass
from typing import Literal

from loragen.contract.digest import canonical_json
from loragen.contract.errors import FormatError, LimitError
from loragen.contract.fields import TextForm, verify_count
from loragen.contract.limits import MAX_CHOICE_BYTES, MAX_CHOICES, MAX_CONTRACT_BYTES, MAX_TOKEN

AnswerKind = Literal["text", "choice"]


@dataclass(frozen=True, slots=True)
class AnswerContract:
    """What an answer may look like.

    Attributes:
        kind: `text`, any text; or `choice`, one of a closed set.
        choices: The closed set, each text once; empty for `text`.
        codes: One token of the edge model for each choice: the LoRA was made to write that token in place of the
            choice's text, and whoever decodes translates it. Empty when the LoRA writes the texts themselves.

    Raises:
        FormatError: Fields that do not fit together.
        LimitError: Too many choices, or one that is too long.
    """

    kind: AnswerKind = "text"
    choices: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("text", "choice"):
            raise FormatError(f"answer: expected type 'text' or 'choice', found {ascii(self.kind)[:40]}")
        if len(self.choices) > MAX_CHOICES:
            raise LimitError(f"answer: expected at most {MAX_CHOICES} choices, found {len(self.choices)}")
        if bool(self.choices) != (self.kind == "choice"):
            raise FormatError(f"answer: found {len(self.choices)} choices for an answer of type {self.kind!r}")
        if "" in self.choices or len(set(self.choices)) < len(self.choices):
            raise FormatError("answer: expected choices that are not empty, each of them once")
        for choice in self.choices:
            try:
                size = len(choice.encode())
            except UnicodeEncodeError as e:
                raise FormatError("answer: expected choices in Unicode, found half a surrogate pair") from e
            if size > MAX_CHOICE_BYTES:
                raise LimitError(f"answer: expected choices of at most {MAX_CHOICE_BYTES} bytes")
        for code in self.codes:
            verify_count(code, "code", 0, MAX_TOKEN)
        if self.codes and not len(self.choices) == len(self.codes) == len(set(self.codes)):
            raise FormatError("answer: expected one code for each choice, all different, or none at all")


TEXT_ANSWER = AnswerContract()
"""Any text."""


def encode_answer(contract: AnswerContract) -> str:
    """The text of a contract; equal contracts give equal texts.

    Raises:
        LimitError: The text would be over its limit.
    """
    fields: dict[str, object] = {"type": contract.kind}
    if contract.choices:
        fields["choices"] = contract.choices
    if contract.codes:
        fields["codes"] = contract.codes
    text = canonical_json(fields).decode("ascii")
    if len(text) > MAX_CONTRACT_BYTES:
        raise LimitError(f"answer: expected at most {MAX_CONTRACT_BYTES} bytes, found {len(text)}")
    return text


def parse_answer(text: str) -> AnswerContract:
    """Parse a contract; `encode_answer` of the result gives `text` again.

    Raises:
        ContractError: Any text that `encode_answer` could not have made.
    """
    if len(text) > MAX_CONTRACT_BYTES:
        raise LimitError(f"answer: expected at most {MAX_CONTRACT_BYTES} bytes, found {len(text)}")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise FormatError("answer: expected JSON") from e
    if not isinstance(fields, dict):
        raise FormatError("answer: expected a JSON object")
    choices, codes = fields.get("choices", []), fields.get("codes", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise FormatError("answer: expected a list of texts as choices")
    if not isinstance(codes, list):
        raise FormatError("answer: expected a list of tokens as codes")
    contract = AnswerContract(fields.get("type", ""), tuple(choices), tuple(codes))
    if encode_answer(contract) != text:
        raise FormatError("answer: the contract is not in canonical form", hint="see docs/bundle-format.md")
    return contract


ANSWER = TextForm(lambda contract, _: encode_answer(contract), lambda text, _: parse_answer(text))
"""The text form of a contract in the header of a file."""
