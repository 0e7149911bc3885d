"""The answer contract: what an answer of a specialization may look like. It travels with recipe and bundle.

Its text is canonical JSON of one form for each kind, such as `{"type":"text"}`,
`{"choices":["billing","delivery"],"codes":[330,389],"type":"choice"}`, `{"schema":{"type":"object"},"type":"json"}` or
`{"functions":[{"name":"stop"}],"none":"none","type":"tool_calls"}`; only the properties of a schema keep their order.
The cloud derives it from a request; the device enforces it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.fields import TextForm, verify_count
from loragen.contract.json_schema import canonical_parameters, canonical_schema
from loragen.contract.limits import MAX_CHOICE_BYTES, MAX_CHOICES, MAX_CONTRACT_BYTES, MAX_TOKEN

AnswerKind = Literal["text", "choice", "json", "tool_calls"]

FUNCTION_NAME_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
"""Regular expression of a function's name: OpenAI's, and with points, which other makers' tools have."""

_FUNCTION_NAME = re.compile(FUNCTION_NAME_PATTERN.removesuffix("$") + r"\Z")


@dataclass(frozen=True, slots=True)
class Function:
    """A function that an answer may call.

    Attributes:
        name: Its name.
        parameters: JSON Schema of its arguments, as `canonical_parameters` writes it; empty when it takes none.

    Raises:
        ContractError: A malformed name or schema.
    """

    name: str
    parameters: str = ""

    def __post_init__(self) -> None:
        if _FUNCTION_NAME.match(self.name) is None:
            raise FormatError(
                "answer: expected a function name of 1 to 64 characters A-Z a-z 0-9 _ . -, "
                f"found {ascii(self.name)[:80]}"
            )
        if self.parameters and canonical_parameters(_loads(self.parameters)) != self.parameters:
            raise FormatError(f"answer: the parameters of {self.name} are not in canonical form")


@dataclass(frozen=True, slots=True)
class AnswerContract:
    """What an answer may look like.

    Attributes:
        kind: `text`, any text; `choice`, one of a closed set; `json`, a JSON value of a schema; `tool_calls`, calls of
            some functions.
        choices: The closed set of `choice`, each text once.
        codes: One token of the edge model for each of `options`: the LoRA was made to write that token in its place,
            and the device that decodes translates it. Empty when the LoRA writes the texts themselves.
        schema: JSON Schema of `json`, as `canonical_schema` writes it.
        functions: What `tool_calls` may call, each name once.
        none: What stands for calling none of them; None where every answer is a call.
        parallel: Whether an answer may be several calls, at most `MAX_PARALLEL_CALLS`.

    Raises:
        FormatError: Fields that do not fit together.
        LimitError: Too many choices, or one that is too long.
    """

    kind: AnswerKind = "text"
    choices: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    schema: str = ""
    functions: tuple[Function, ...] = ()
    none: str | None = None
    parallel: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("text", "choice", "json", "tool_calls"):
            raise FormatError(f"answer: expected type text, choice, json or tool_calls, found {ascii(self.kind)[:40]}")
        for field, kind in (("choices", "choice"), ("schema", "json"), ("functions", "tool_calls")):
            if bool(getattr(self, field)) != (self.kind == kind):
                has = "no" if self.kind == kind else "found"
                raise FormatError(f"answer: {has} {field} for an answer of type {self.kind!r}")
        for field in ("none", "parallel"):
            if getattr(self, field) not in (None, False) and self.kind != "tool_calls":
                raise FormatError(f"answer: found {field} for an answer of type {self.kind!r}")
        if self.schema and canonical_schema(_loads(self.schema)) != self.schema:
            raise FormatError("answer: the schema is not in canonical form")
        _verify_options(self.options)
        for code in self.codes:
            verify_count(code, "code", 0, MAX_TOKEN)
        if self.codes and not len(self.options) == len(self.codes) == len(set(self.codes)):
            raise FormatError("answer: expected one code for each choice, all different, or none at all")

    @property
    def options(self) -> tuple[str, ...]:
        """What an answer chooses from: the choices, or the functions' names and last the text that stands for none."""
        none = () if self.none is None else (self.none,)
        return self.choices + tuple(function.name for function in self.functions) + none


def _verify_options(options: tuple[str, ...]) -> None:
    if len(options) > MAX_CHOICES:
        raise LimitError(f"answer: expected at most {MAX_CHOICES} choices, found {len(options)}")
    if "" in options or len(set(options)) < len(options):
        raise FormatError("answer: expected choices that are not empty, each of them once")
    for option in options:
        try:
            size = len(option.encode())
        except UnicodeEncodeError as e:
            raise FormatError("answer: expected choices in Unicode, found half a surrogate pair") from e
        if size > MAX_CHOICE_BYTES:
            raise LimitError(f"answer: expected choices of at most {MAX_CHOICE_BYTES} bytes")


TEXT_ANSWER = AnswerContract()
"""Any text."""


def answer_fields(contract: AnswerContract) -> dict[str, Any]:
    """A contract as a JSON value, with sorted keys; what is empty is left out."""
    fields: dict[str, Any] = {}
    if contract.choices:
        fields["choices"] = list(contract.choices)
    if contract.codes:
        fields["codes"] = list(contract.codes)
    if contract.functions:
        fields["functions"] = [
            {"name": each.name} | ({"parameters": json.loads(each.parameters)} if each.parameters else {})
            for each in contract.functions
        ]
    if contract.none is not None:
        fields["none"] = contract.none
    if contract.parallel:
        fields["parallel"] = True
    if contract.schema:
        fields["schema"] = json.loads(contract.schema)
    return fields | {"type": contract.kind}


def encode_answer(contract: AnswerContract) -> str:
    """The text of a contract; equal contracts give equal texts.

    Raises:
        LimitError: The text would be over its limit.
    """
    text = json.dumps(answer_fields(contract), separators=(",", ":"))
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
    fields = _loads(text)
    if not isinstance(fields, dict):
        raise FormatError("answer: expected a JSON object")
    contract = contract_of(fields)
    if encode_answer(contract) != text:
        raise FormatError("answer: the contract is not in canonical form", hint="see docs/bundle-format.md")
    return contract


def contract_of(fields: Mapping[str, Any]) -> AnswerContract:
    """The contract of a JSON value like that of `answer_fields`; its schemas may be in any form.

    Raises:
        ContractError: It is no answer contract.
    """
    choices, codes = fields.get("choices", []), fields.get("codes", [])
    functions, none, parallel = fields.get("functions", []), fields.get("none"), fields.get("parallel", False)
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise FormatError("answer: expected a list of texts as choices")
    if not isinstance(codes, list):
        raise FormatError("answer: expected a list of tokens as codes")
    if isinstance(functions, list):  # as OpenAI wraps them
        functions = [each.get("function", each) if isinstance(each, Mapping) else each for each in functions]
    if not isinstance(functions, list) or not all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) for each in functions
    ):
        raise FormatError("answer: expected a list of objects with a name as functions")
    if none is not None and not isinstance(none, str):
        raise FormatError("answer: expected a text as none")
    if not isinstance(parallel, bool):
        raise FormatError("answer: expected true or false as parallel")
    # Before memory is taken for their schemas.
    if len(functions) > MAX_CHOICES:
        raise LimitError(f"answer: expected at most {MAX_CHOICES} functions, found {len(functions)}")
    return AnswerContract(
        fields.get("type", ""),
        tuple(choices),
        tuple(codes),
        canonical_schema(fields["schema"]) if "schema" in fields else "",
        tuple(Function(each["name"], canonical_parameters(each.get("parameters"))) for each in functions),
        none,
        parallel,
    )


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise FormatError("answer: expected JSON") from e


ANSWER = TextForm(lambda contract, _: encode_answer(contract), lambda text, _: parse_answer(text))
"""The text form of a contract in the header of a file."""
