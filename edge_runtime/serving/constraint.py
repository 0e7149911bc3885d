"""Rule: what an answer is constrained to, from what a request asks and what the specialization's contract says.

- A request's own closed set or schema goes before the contract's.
- Where the contract has codes and knows all texts of the set, the answer is one code, which is translated. Otherwise
  the model spells the texts. Codes are kept out of every other answer: the LoRA makes them likely everywhere.
- A specialization that calls functions calls one, unless the request has its own form, wants no call, or ends with the
  result of a call: then the answer is text. A request may demand another call by `tool_choice`.
- A request that says `"constrain": false` is answered as if there were no contract; its own form still counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.engine import Sampling
from edge_runtime.serving.tool_calls import beginning_of
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, Function


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What a request says of functions.

    Attributes:
        choice: Whether to call one; `auto` leaves it to the contract.
        function: The one to call; empty for any.
        tools: The functions that the client believes there are; empty when it says nothing.
        has_result: The conversation ends with the result of a call.
    """

    choice: Literal["auto", "none", "required"] = "auto"
    function: str = ""
    tools: tuple[Function, ...] = ()
    has_result: bool = False


NO_TOOL_USE = ToolUse()


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer is held to.

    Attributes:
        sampling: How it is sampled; its choices are what the model chooses from.
        functions: By choice, the functions that are called; empty for an answer that is text.
    """

    sampling: Sampling
    functions: Mapping[str, Function] = field(default_factory=dict)


def constrained(
    asked: Sampling, contract: AnswerContract, constrain: bool = True, use: ToolUse = NO_TOOL_USE
) -> Constraint:
    """How the answer is sampled.

    Args:
        asked: What the request says; its `choices` or `schema` are its own form.
        contract: Of the specialization.
        constrain: Whether the contract counts.
        use: What the request says of functions.

    Raises:
        InvalidRequestError: It speaks of functions that the specialization does not have.
    """
    if not constrain:
        contract = TEXT_ANSWER
    _verify_tools(use, contract)
    own = bool(asked.choices or asked.schema)
    is_text = use.choice == "none" or (use.has_result and use.choice == "auto")
    if contract.kind == "tool_calls" and not own and not is_text:
        return _call(asked, contract, use)
    asked = replace(asked, avoided=contract.codes)
    if asked.schema or (contract.schema and not own):
        return Constraint(replace(asked, schema=asked.schema or contract.schema))
    # Without codes this is empty, and so is the result's.
    code_of = dict(zip(contract.options, contract.codes, strict=False))
    choices = tuple(dict.fromkeys(asked.choices or contract.choices))
    codes = tuple(code_of[choice] for choice in choices if choice in code_of)
    return Constraint(replace(asked, choices=choices, codes=codes if len(codes) == len(choices) else ()))


def _call(asked: Sampling, contract: AnswerContract, use: ToolUse) -> Constraint:
    functions = {each.name: each for each in contract.functions if use.function in ("", each.name)}
    none = () if contract.none is None or use.function or use.choice == "required" else (contract.none,)
    options = (*functions, *none)
    asked = replace(asked, avoided=contract.codes)
    if contract.codes:
        code_of = dict(zip(contract.options, contract.codes, strict=True))
        return Constraint(replace(asked, choices=options, codes=tuple(code_of[each] for each in options)), functions)
    spelled = {beginning_of(name): function for name, function in functions.items()}
    return Constraint(replace(asked, choices=(*spelled, *none)), spelled)


def _verify_tools(use: ToolUse, contract: AnswerContract) -> None:
    hint = "GET /v1/models/{id} shows what a specialization answers; its functions are in its weights"
    if use.tools and set(use.tools) != set(contract.functions):
        raise InvalidRequestError(
            "'tools' are not those of this specialization, and others are not supported",
            f"leave 'tools' out, or send the same names and parameters; {hint}",
            code="unsupported_parameter",
        )
    names = [function.name for function in contract.functions]
    if (use.choice == "required" and not names) or (use.function and use.function not in names):
        raise InvalidRequestError(
            f"'tool_choice' asks for {'the function ' + use.function if use.function else 'a function'}, "
            "which this model does not have",
            hint,
            code="unsupported_parameter",
        )
