"""Rule: closed sets that a text states case after case: `Say UP if ..., DOWN if ... and FLAT otherwise`.

Each case is a command and a label with a condition behind it (`Say A if ...`), or before it (`If ..., say A`), or what
is left (`Anything else is C`). Cases that follow each other make a set. Labels are of one form, as all in capitals or
all quoted, and conditions of one kind, so that words of a condition are not taken for labels.

Without a command only few forms count, and only where they go on to the end of a sentence: `late -> A, anything else ->
B`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cloud_service.answer.stated.answer_words import MOST_MATCHES, NO_LABEL, SAY, WORD
from cloud_service.answer.stated.explained_labels import asks_for_label
from cloud_service.answer.stated.opposites import is_polar
from cloud_service.answer.stated.quotations import MASK

MOST_CASES = 64
"""Cases of one text that are read."""

_SEPARATOR = r"(?:[,;.]\s+(?:(?:and|or|but) )?|\s(?:and|or|but) )"
_CONDITION = r"(?:if|when|whenever|where|for|to)"
_REST = (
    r"(?:(?:any|every)thing else|all (?:the )?others?|(?:the )?others|(?:all )?the rest|whatever else|otherwise|else"
    r"|(?:(?:in|for) )?(?:all|any|every) (?:the )?other (?:cases?|\w+)|if not|in between|if neither"
    r"|for (?:all )?(?:the )?(?:others|rest)|for (?:any|every)thing else|if you cannot tell|if unsure)"
)
_IS = r"(?: (?:is|are|becomes?|gets?|counts? as|should be|must be|goes to))?"
_CASE = re.compile(
    rf"(?:(?P<say>\b{SAY}\s+)|(?P<colon>:\s+)|(?P<next>{_SEPARATOR}))(?P<label>{WORD})"
    rf"\s+(?:(?P<rest>{_REST})\b|(?P<why>{_CONDITION})(?=\s))",
    re.IGNORECASE,
)
_CONDITION_FIRST = re.compile(
    rf"\b(?P<why>if|when|whenever) [^.,;:\n]{{1,100}}?,? {SAY} (?P<label>{WORD})"
    r"(?=\s*(?:[,;.]|\Z)|\s(?:and|but|else)\b)",
    re.IGNORECASE,
)
_REST_FIRST = re.compile(
    rf"(?:\A|{_SEPARATOR}|\n)(?P<rest>{_REST})(?:,? (?:it )?{SAY}|{_IS}|:)[,:]? (?P<label>{WORD})(?=\s*(?:[,;.\n]|\Z))",
    re.IGNORECASE,
)
_MARKED_AS = re.compile(
    rf"\b(?:mark|label|tag|flag|rate|count|call|treat) [^.,;:\n]{{1,60}}? as (?P<label>{WORD})"
    r"\s+(?P<why>if|when|where)\b",
    re.IGNORECASE,
)
_USE = re.compile(r"\s*(?:use|put|enter)\b", re.IGNORECASE)
_MORE = re.compile(
    r"[^.;!?\n]*,\s*(?:then |and |followed by )?(?:the|an?|its|your) |\s*(?:,|or\b|and\b)[ ]*[\uE000-\uF8FF]",
    re.IGNORECASE,
)
"""Asks for something besides the label."""

_END = r"\s*(?:\Z|(?=[.;!?\n)]))"
_WITHOUT_COMMAND = [
    # "Up to 3 -> S, up to 9 -> M, more -> L"
    re.compile(
        rf"(?:\A|[.;:?\n]\s*)(?P<cases>(?:[^,;.:>\n]{{1,120}}-> ?{WORD}, ){{1,20}})(?:{_REST}|more) ?-> ?"
        rf"(?P<last>{WORD}){_END}",
        re.IGNORECASE,
    ),
    # "pinned if there is a number, free if there is none, limited otherwise"
    re.compile(
        rf"(?:\A|[.;:?\n]\s*)(?P<cases>(?:{WORD} (?:for|if|when) [^,;.\n]{{1,120}}, ){{1,20}})(?P<last>{WORD})"
        rf" (?:otherwise|in between|when it (?:is|does) not){_END}",
        re.IGNORECASE,
    ),
    # "Mark it 1; mark the rest 0"
    re.compile(rf"\bmark it (?P<cases>{WORD}); mark the rest (?P<last>{WORD}){_END}", re.IGNORECASE),
    # "y = a good opinion, n = not a good opinion"
    re.compile(
        rf"(?:\A|[:;.,]\s*)(?P<cases>{WORD}) = (?P<said>[^,;.=\n]{{1,120}}), (?P<last>{WORD}) = not (?P=said){_END}",
        re.IGNORECASE,
    ),
]
_LABEL = re.compile(rf"-> ?({WORD}), |(?:\A|, )({WORD})(?: (?:for|if|when) |\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Case:
    """One label with its condition.

    Attributes:
        begin: Where it begins in the text.
        end: Where its label ends.
        label: The label.
        kind: `if` for conditions, `for` for what a label is for, `rest` for what is left.
        is_said: Whether a command names the label.
    """

    begin: int
    end: int
    label: str
    kind: str
    is_said: bool


def chained_sets(text: str) -> Iterator[tuple[str, ...]]:
    """The sets whose labels a text names case after case; quotations are masked."""
    run: list[_Case] = []
    for case in _cases(text):
        if run and not _follows(run, case, text):
            if not case.is_said and ". " not in text[run[-1].end : case.end]:
                continue  # words of a condition
            yield from _members(run, text)
            run = []
        if run or case.is_said:
            run.append(case)
    yield from _members(run, text)
    yield from _sets_without_command(text)


def _sets_without_command(text: str) -> Iterator[tuple[str, ...]]:
    for pattern in _WITHOUT_COMMAND:
        for match in islice(pattern.finditer(text), MOST_MATCHES):
            members = (*(arrow or word for arrow, word in _LABEL.findall(match["cases"])), match["last"])
            if _are_labels(members):
                yield members


def _are_labels(members: Sequence[str]) -> bool:
    if len(members) == 2:
        return is_polar(tuple(members)) or all(map(MASK.fullmatch, members))
    return not any(map(NO_LABEL.match, members))


def _cases(text: str) -> list[_Case]:
    found = []
    for pattern in (_CASE, _CONDITION_FIRST, _REST_FIRST, _MARKED_AS):
        for match in islice(pattern.finditer(text), MOST_CASES):
            groups = match.groupdict()
            if NO_LABEL.match(match["label"]):
                continue
            kind = "rest" if groups.get("rest") else "for" if match["why"].lower() in ("for", "to") else "if"
            is_announced = groups.get("colon") is not None and asks_for_label(text)
            is_said = pattern in (_CONDITION_FIRST, _MARKED_AS) or groups.get("say") is not None or is_announced
            found.append(_Case(match.start(), match.end("label"), match["label"], kind, is_said))
    found.sort(key=lambda case: (case.end, not case.is_said))
    return [case for index, case in enumerate(found) if not index or case.end != found[index - 1].end]


def _follows(run: list[_Case], case: _Case, text: str) -> bool:
    """Whether a case goes on with those before it."""
    first, last = run[0], run[-1]
    between = text[last.end : case.begin]
    if last.kind == "rest" or "\n\n" in between or len(between) > 160:
        return False
    if _form(case.label) != _form(first.label):
        return False
    is_new_sentence = re.search(r"[.!?]\s", between) is not None or text[case.begin : case.begin + 1] == "."
    if is_new_sentence and not (case.is_said or case.kind == "rest"):
        return False
    return case.kind in ("rest", first.kind) or case.is_said or _form(case.label) != "words"


def _form(label: str) -> str:
    if MASK.fullmatch(label):
        return "quoted"
    if label.isdigit():
        return "digits"
    if not any(map(str.isalpha, label)):
        return "signs"
    return "capitals" if label == label.upper() and len(label) > 1 else "words"


def _members(run: list[_Case], text: str) -> Iterator[tuple[str, ...]]:
    labels = tuple(dict.fromkeys(case.label for case in run))
    if len(labels) != len(run) or len(labels) < 2 or _MORE.match(text[run[-1].end :]):
        return
    is_of_text = _USE.match(text[run[0].begin :]) and {case.kind for case in run} == {"for"}
    if is_of_text and not asks_for_label(text):
        return  # `Use fip for dog and mol for cat in the sentence`
    is_sure = len(labels) > 2 or is_polar(labels) or _form(labels[0]) != "words"
    if is_sure or all(case.is_said or case.kind == "rest" for case in run):
        yield labels
