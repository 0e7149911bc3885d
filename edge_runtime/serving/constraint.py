"""Rule: what an answer is constrained to, from what a request asks and what the specialization's contract says.

- A request's own closed set goes before the contract's.
- Where the contract has codes and knows all texts of the set, the answer is one code, which is translated. Otherwise
  the model spells the texts.
- A request that says `"constrain": false` is answered as if there were no contract; its own closed set still counts.
"""

from dataclasses import replace

from edge_runtime.serving.engine import Sampling
from loragen.contract.answer import TEXT_ANSWER, AnswerContract


def constrained(asked: Sampling, contract: AnswerContract, constrain: bool = True) -> Sampling:
    """How the answer is sampled.

    Args:
        asked: What the request says; its `choices` are its own closed set.
        contract: Of the specialization.
        constrain: Whether the contract counts.
    """
    if not constrain:
        contract = TEXT_ANSWER
    # Without codes this is empty, and so is the result's.
    code_of = dict(zip(contract.choices, contract.codes, strict=False))
    choices = tuple(dict.fromkeys(asked.choices or contract.choices))
    codes = tuple(code_of[choice] for choice in choices if choice in code_of)
    return replace(asked, choices=choices, codes=codes if len(codes) == len(choices) else ())
