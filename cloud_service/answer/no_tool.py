"""Rule: what a task tells to answer where none of its tools fits, as in `If no tool fits, answer none`.

A closed set without that answer makes it impossible, and so does one with a wrong word in its place. So a word counts
only where its sentence ends, and one that says how to answer (`reply politely`) does not.
"""

import re
from itertools import chain

from cloud_service.answer.stated.answer_words import ANSWER_VERBS

NONE_WORDS = frozenset(
    ("none", "null", "other", "unknown", "fallback", "no_tool", "no tool", "no match", "nothing", "n/a", "out_of_scope")
)

LONGEST_SENTENCE = 300
"""A longer sentence is not read. This bounds the time."""

_BETWEEN = re.compile(r"(?<=[.;!?])\s+|\n+")
_WORDS = r"(?:\s+with)?(?: just| only)?(?: the (?:word|label|text|string|name|answer|tool|function))?\s+"
_ANSWER = rf"\b(?:{ANSWER_VERBS}|give){_WORDS}"
_SAY = rf"\b(?:{ANSWER_VERBS}|give|use|choose|pick){_WORDS}"
_QUOTED = r"\"([^\"\n]{1,60})\"|'([^'\n]{1,60})'(?!\w)|`([^`\n]{1,60})`|“([^”\n]{1,60})”"
_NONE = rf"(?:{_QUOTED}|(no [\w-]{{1,37}}|[\w-]{{1,40}}))"
_NONE_WORD = rf"(?:{_QUOTED}|({'|'.join(sorted(map(re.escape, NONE_WORDS)))}))"
_END = r"\s*(?=[.;,\n)]|\Z)"
_IF = r"\b(?:if|when|whenever|where|wherever|in case|should)\s+"
_INPUTS = (
    r"(?:requests?|messages?|questions?|queries|inputs?|utterances?|sentences?|things?|topics?|anything|everything)"
)
_UNLIKE = (
    r"(?:irrelevant|unrelated|unknown|unclear|ambiguous|unsupported|unsuitable|nonsensical|out[- ]of[- ]scope"
    r"|off[- ]topic|other|remaining)"
)
_NOT = (
    r"(?:\bnot|n't|\bcannot|\belse|\boutside|\bbeyond|\bnone of|\bno (?:tool|function|api|action|call)s?|\bnothing"
    rf"|\bneeds? no|\b{_UNLIKE}|\bsmall talk|\bchit-?chat|\bchats?|\bgreet\w*)\b"
)
_NO_TOOL = r"(?:there (?:is |are |'s )|there's )?(?:no|none|nothing|not one|neither)\b[^.;\n]{0,60}?"
_NO_REQUEST = rf"(?:it|it's|this|that|they|you|we|(?:the|an?) \w+)\b[^.;,\n]{{0,60}}?{_NOT}[^.;,\n]{{0,40}}?"
"""Says that a request is not one for a tool, or nothing of the kind: `use speech if the driver cannot look`."""

_REST = (
    r"(?:(?:any|every)thing else|all (?:the )?others?|all other \w+|the rest|small talk|chit-?chat"
    rf"|(?:an? |all |any )?{_UNLIKE} {_INPUTS}|{_INPUTS} (?:that|which) [^.;,\n]{{0,40}}?{_NOT}[^.;,\n]{{0,40}}?)"
)
_THEN = r"\s*[,:]?\s*(?:then |just |please |simply |always )*"
_GETS = r"\s*(?::|\b(?:is|are) answered (?:with|by)\b|->|=|\b(?:gets?|is|are|becomes?|means?|go(?:es)? to)\b)"
_RULES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_IF}{_NO_TOOL}{_THEN}(?:the answer is\s+|{_SAY}){_NONE}{_END}",
        rf"{_IF}{_NO_REQUEST}{_THEN}(?:(?:the answer is\s+|{_ANSWER}){_NONE}|{_SAY}{_NONE_WORD}){_END}",
        rf"{_SAY}{_NONE}\s+{_IF}{_NO_TOOL}{_END}",
        rf"{_ANSWER}{_NONE}\s+{_IF}{_NO_REQUEST}{_END}",
        rf"(?:{_SAY}|\A|,\s*|\bor ){_NONE_WORD}\s+{_IF}(?:{_NO_TOOL}|{_NO_REQUEST}){_END}",
        rf"\b(?:otherwise|else|in all other cases)[,:]?\s+(?:the answer is\s+|{_SAY})?{_NONE}\s*(?=[.;\n]|$)",
        rf"\bfor {_REST},?\s+(?:the answer is\s+|{_SAY}){_NONE}{_END}",
        rf"(?:{_SAY}|\A){_NONE}\s+(?:for|to|on)\s+{_REST}\s*(?=[.;\n]|$)",
        rf"\b{_INPUTS}\s+(?:outside|beyond|else|other|not)\b[^.;\n]{{0,50}}?{_GETS}\s+{_NONE}\s*(?=[.;\n]|$)",
        rf"\b{_REST}{_GETS}\s+{_NONE}\s*(?=[.;\n]|$)",
        rf"(?:\A|,\s*)no (?:tool|function|api|match)\b[^.;:\n]{{0,30}}(?::|->|=)\s*(?:{_SAY})?{_NONE}{_END}",
        (
            rf"{_NONE_WORD}\s*(?:=|:|\b(?:means?|stands for|is for)\b)\s*"
            rf"(?:that )?(?:{_NO_TOOL}|{_NO_REQUEST}|{_REST}){_END}"
        ),
        rf"\b(?:tools?|functions?|apis?|names?|them)\b,? or (?:else )?{_NONE_WORD}{_END}",
        rf"\b(?:fall back|defaults?) (?:to|on|is)\s+{_NONE}\s*(?=[.;\n]|$)",
    )
]
_NO_ANSWER = re.compile(
    r"(?:the|an?|it|its|one|that|this|your|to|in|as|with|back|again|normally|anyway|me|us|them|him|her|what|why|how"
    r"|so|up|on|sorry|apologi[sz]e|decline|refuse|advice|help|text|yourself|freely|[\w-]{3,}ly|(?!un|not|no_)[a-z]{2,}(?:ed|ing)|fine|possible|impossible)$",
    re.IGNORECASE,
)
"""Words that say how or what to answer."""

_SOME_RULE = re.compile(
    r"\b(?:if|when|whenever|in case|should)\s+(?:there (?:is|are) )?(?:no|none|nothing)\b|\botherwise\b"
    r"|\b(?:if|when|whenever|in case)\b[^.;\n]{0,60}\b(?:no (?:tool|function|api)|out of scope|off-topic)\b",
    re.IGNORECASE,
)


def says_what_else(description: str) -> bool:
    """Whether there is an answer for what no tool serves, whichever."""
    return _SOME_RULE.search(description) is not None


def none_answer(said: str) -> str | None:
    """What a rule in words tells to answer when no tool fits."""
    sentences = [part for part in _BETWEEN.split(said) if len(part) <= LONGEST_SENTENCE]
    for rule in _RULES:
        for match in chain.from_iterable(map(rule.finditer, sentences)):
            number = next(number for number, group in enumerate(match.groups(), 1) if group is not None)
            is_quoted = match.start(number) and match.string[match.start(number) - 1] in "\"'`“"
            if is_quoted or not _NO_ANSWER.match(match[number]):
                return match[number].strip()
    return None
