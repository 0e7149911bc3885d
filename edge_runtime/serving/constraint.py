"""Rule: what an answer is constrained to, from what a request asks and what the specialization's contract says.

- A request's own closed set, schema or tools go before the contract's. Tools that are the specialization's are not its
  own: they are in the weights already. Of some of them, it calls no others.
- Any JSON object, which many clients ask for as a habit, is no form of its own where the contract gives objects.
- Where the contract has codes and knows all texts of the set, the answer is one code, which is translated. Otherwise
  the model spells the texts. A schema that leaves only a label open, such as that of `{"desk": "billing"}`, is such a
  set, too. Codes are kept out of every other answer: the LoRA makes them likely everywhere.
- A specialization that calls functions calls one, unless the request has its own form, wants no call, or ends with the
  result of a call: then the answer is text. A request may demand another call by `tool_choice`.
- A model that is brought tools decides by itself whether to call one, unless the request demands it.
- Weights that were made to write codes write nothing else well, but for the arguments of calls. What such a
  specialization would answer in any other form, the base model answers in its place. But a closed set of the request's
  own is spelled by the weights that were asked: so a wrong specialization shows as one in an evaluation.
- A request that says `"constrain": false` is answered as if there were no contract. Its own form still counts, but
  calls of the tools that it brings are only read, and constrained to nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.call_forms import OWN_FORM
from edge_runtime.serving.engine import Sampling
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, Function
from loragen.contract.json_schema import ANY_OBJECT
from loragen.contract.limits import MAX_PARALLEL_CALLS
from loragen.contract.schema_values import closed_values


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What a request says of functions.

    Attributes:
        choice: Whether to call one; `auto` leaves it to the contract, or to the model.
        function: The one to call; empty for any.
        tools: The functions that the client believes there are; empty when it says nothing.
        has_result: The conversation ends with the result of a call.
        parallel: Whether an answer may be several calls.
    """

    choice: Literal["auto", "none", "required"] = "auto"
    function: str = ""
    tools: tuple[Function, ...] = ()
    has_result: bool = False
    parallel: bool = True


NO_TOOL_USE = ToolUse()


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls that an answer may be.

    Attributes:
        functions: What may be called, by choice: what the model chooses by. By name where the request brought them.
        most: Calls of one answer.
        are_brought: They were brought by the request, so that they are written in the form of the model's template.
        are_optional: The answer may be text, too. A contract has a choice for that.
        are_constrained: Their arguments keep to the schemas; otherwise they are read as they come.
    """

    functions: Mapping[str, Function]
    most: int = 1
    are_brought: bool = False
    are_optional: bool = False
    are_constrained: bool = True


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must satisfy.

    Attributes:
        sampling: How it is sampled; its choices are what the model chooses from.
        calls: For an answer that may be calls.
        shows_tools: The tools of the request belong into the prompt.
    """

    sampling: Sampling
    calls: Calls | None = None
    shows_tools: bool = field(default=False, kw_only=True)


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
        InvalidRequestError: It demands a call of a function that is not there.
    """
    codes = contract.codes if constrain else ()
    if not constrain:
        contract = TEXT_ANSWER
    brings = not set(use.tools) <= set(contract.functions)
    _verify_choice(use, use.tools or contract.functions)
    own = bool(asked.choices or asked.schema)
    if brings and use.choice != "none":
        if own:
            return replace(_text(asked, contract), shows_tools=True)
        return Constraint(replace(asked, avoided=codes), _brought(use, constrain), shows_tools=True)
    is_text = use.choice == "none" or (use.has_result and use.choice == "auto")
    if contract.kind == "tool_calls" and not own and not is_text:
        return _call(asked, contract, use)
    return _text(asked, contract)


def is_for_base(asked: Sampling, contract: AnswerContract, constrain: bool = True, use: ToolUse = NO_TOOL_USE) -> bool:
    """Whether the base model answers in the place of a specialization.

    Args:
        asked: As for `constrained`.
        contract: Of the specialization.
        constrain: As for `constrained`.
        use: As for `constrained`.

    Raises:
        InvalidRequestError: As for `constrained`.
    """
    if not contract.codes or not constrain or asked.choices:
        return False
    found = constrained(asked, contract, constrain, use)
    if found.calls is not None:
        return found.calls.are_brought
    # A schema of the request's own is filled in like the arguments of a call.
    is_filled_in = contract.kind == "tool_calls" and found.sampling.schema and not found.shows_tools
    return not found.sampling.codes and not is_filled_in


def _text(asked: Sampling, contract: AnswerContract) -> Constraint:
    asked = replace(asked, avoided=contract.codes)
    if asked.schema == ANY_OBJECT and _gives_objects(contract):
        asked = replace(asked, schema="")
    own = bool(asked.choices or asked.schema)
    if contract.choices and asked.schema and (labelled := _labelled(asked, contract)):
        return Constraint(labelled)
    if asked.schema or (contract.schema and not own):
        return Constraint(replace(asked, schema=asked.schema or contract.schema, ends_in_time=True))
    # Without codes this is empty, and so is the result's.
    code_of = dict(zip(contract.options, contract.codes, strict=False))
    choices = tuple(dict.fromkeys(asked.choices or contract.choices))
    codes = tuple(code_of[choice] for choice in choices if choice in code_of)
    return Constraint(replace(asked, choices=choices, codes=codes if len(codes) == len(choices) else ()))


def _gives_objects(contract: AnswerContract) -> bool:
    """Whether each answer of a contract is a JSON object."""
    if contract.kind == "json":
        schema = json.loads(contract.schema)
        return all(part.get("type") == "object" for part in schema.get("anyOf", [schema]))
    try:
        return bool(contract.choices) and all(isinstance(json.loads(choice), dict) for choice in contract.choices)
    except (ValueError, RecursionError):
        return False


def _labelled(asked: Sampling, contract: AnswerContract) -> Sampling | None:
    """A request's own schema as the choice that it is, written in its JSON; None where it is of other labels."""
    code_of = dict(zip(contract.choices, contract.codes, strict=False))
    values = closed_values(asked.schema)
    found = (code_of.get(text, code_of.get(label)) for label, text in values)
    codes = tuple(dict.fromkeys(code for code in found if code is not None))
    if not values or len(codes) < len(values):
        return None
    return replace(asked, schema="", choices=tuple(text for _, text in values), codes=codes)


def _call(asked: Sampling, contract: AnswerContract, use: ToolUse) -> Constraint:
    offered = [each for each in contract.functions if not use.tools or each in use.tools]
    functions = {each.name: each for each in offered if use.function in ("", each.name)}
    none = () if contract.none is None or use.function or use.choice == "required" else (contract.none,)
    options = (*functions, *none)
    most = MAX_PARALLEL_CALLS if contract.parallel and use.parallel else 1
    asked = replace(asked, avoided=contract.codes)
    if contract.codes:
        code_of = dict(zip(contract.options, contract.codes, strict=True))
        codes = tuple(code_of[each] for each in options)
        return Constraint(replace(asked, choices=options, codes=codes), Calls(functions, most))
    spelled = {OWN_FORM.beginning_of(name): function for name, function in functions.items()}
    return Constraint(replace(asked, choices=(*spelled, *none)), Calls(spelled, most))


def _brought(use: ToolUse, are_constrained: bool) -> Calls:
    return Calls(
        {each.name: each for each in use.tools if use.function in ("", each.name)},
        MAX_PARALLEL_CALLS if use.parallel else 1,
        are_brought=True,
        are_optional=use.choice == "auto",
        are_constrained=are_constrained,
    )


def _verify_choice(use: ToolUse, functions: tuple[Function, ...]) -> None:
    names = [function.name for function in functions]
    if (use.choice == "required" and not names) or (use.function and use.function not in names):
        raise InvalidRequestError(
            f"'tool_choice' asks for {'the function ' + use.function if use.function else 'a function'}, "
            "which this model does not have",
            "send it in 'tools'; GET /v1/models/{id} shows which functions a specialization knows",
            code="unsupported_parameter",
            field="tool_choice",
        )
