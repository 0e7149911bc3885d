"""Rule: which closed sets of answers a task states, such as `Answer yes or no` or `Labels: spam, ham`.

A wrong set makes every answer wrong, while an answer without a set is merely free. So a list counts only after words
that announce answers, or in a sentence that asks for one of them, and only when its items are clear. The package's
docstring says which module reads what.
`cloud_service.answer.contract` decides which of the sets a task means.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cloud_service.answer.stated.announcements import announced_sets, sets_of_format
from cloud_service.answer.stated.answer_words import ANSWER_VERBS, MOST_MATCHES
from cloud_service.answer.stated.asked_choices import asked_sets
from cloud_service.answer.stated.cases import chained_sets
from cloud_service.answer.stated.explained_labels import explained_sets, listed_sets
from cloud_service.answer.stated.numbers_and_letters import numbered_sets
from cloud_service.answer.stated.opposites import are_negations, are_opposites, is_polar
from cloud_service.answer.stated.other_languages import in_english
from cloud_service.answer.stated.quotations import mask, unmask, without_masks
from cloud_service.answer.stated.task_sentences import is_brief_format

LONGEST_LABEL = 40
LONGEST_READ = 4_000
"""Characters of a text that are searched. This bounds the time; a set is stated early in a description."""

MOST_EXPLAINED = 8
"""Explained sets that are compared with lists; this bounds the time."""

_IS_LABEL = re.compile(r"\S+(?: \S+){0,2}(?<![.,:;!?…])")
"""A quotation that is a label rather than a sentence to be written."""

_SEVERAL = re.compile(
    r"\b(?:one or more|zero or more|all that apply|any that apply|all (?:the )?labels that|multiple|more than one label"
    r"|comma[- ]separated|separated by commas|as many|several (?:labels|tags|categories|classes)|in this format)\b",
    re.IGNORECASE,
)
_COMMAND = r"(?:\A|[.;:!?,\n]\s*|\b(?:and|then|please|must|should|will|that|to)\s+)"
_LABEL_NOUN = (
    r"(?:single |right |matching |correct )?(?:name of the (?:shelf|team|desk|category|class|group|folder|queue)"
    r"|letter|code|label|category|tag|digit|sign|symbol|abbreviation|class|grade|emoji)\b(?! (?:to|from)\b)"
)
_GENERATES = re.compile(
    rf"\b(?:summari[sz]e|translate(?!d\b)|paraphrase)"
    r"|\b(?:has to|have to|needs? to|must|should|is to|are to) be translated\b"
    rf"|{_COMMAND}write (?-i:an?|the) (?!for\b)(?!{_LABEL_NOUN})"
    rf"|(?:{_COMMAND}|\byou )(?:rewrite|compose|draft|generate|create|extract"
    r"|list (?:the|all)|suggest|recommend|explain)\b"
    r"|(?<!not )(?<!n't )\b(?:explain|justify) (?:the|your|why|it)\b|\bgive (?:\w+ )?reasons?\b"
    r"|\bin (?:one|two|three|full) (?:\w+ )?sentences?\b|\bdescribe (?:whether|if|how)\b"
    r"|\bwhat would you (?:reply|answer|do)\b"
    r"|\bin (?:two|three|four|five|six|\d) words\b"
    r"|\band (?:a|the|your) (?:reason|explanation|justification|comment)s?\b|\band why\b",
    re.IGNORECASE,
)
"""Such a task asks for new text. A list in its description is about that text, as in `Tone: warm, friendly`."""

_SORTS = re.compile(
    r"\b(?:classify|classification|categori[sz]e|label|tag|sort|judge|rate|decide|determine|detect|assign|sentiment"
    r"|which (?:kind|type|sort|category|class|department|team|group|label)|kind of|type of|sort of"
    r"|how (?!many\b|much\b)\w+ (?:is|are|was|were))\b"
    r"|(?:\A|[.!?\n]\s*)(?:is|are|does|do|did|would|will|can|could|has|have|was|were|should|may|must)\b[^.?\n]{1,200}\?",
    re.IGNORECASE,
)
"""Such a task has few answers, so that an output format with commas may list them."""

_SEVERAL_VALUES = re.compile(
    r"\b(?:how many|count|number of|list|split|separate|group|both|each|all|amounts?|totals?|sums?|forms?|columns?"
    r"|pairs?|opposites?|degrees|words|derive)\b",
    re.IGNORECASE,
)
"""Such a task may have a value for each of two names that are opposites."""

_LABEL_LIST = re.compile(
    r"\b(?:labels|tags|categories|classes|verdicts)(?: are|:) [^.;:!?\n]{3,300}(?=[.\n]|\Z)", re.IGNORECASE
)
_LABEL_OF_ONE_WORD = re.compile(r"(?:(?<=[,:] )|(?<=are )|(?<= or ))\w+(?=,|\Z| or\b)")
"""A verb in such a list is a label: `Labels: accept, rewrite`."""

_LOOKS_UP = re.compile(
    r"(?:\A|[.?!\n] ?)(?:find|extract|get|look up|who|when|where|what is the|what's the|name the)\b", re.IGNORECASE
)
"""Such a task takes a value out of a text, so that an output format may name kinds of values."""

_VALUE = re.compile(
    r"(?!no |not )(?:.* )?(?:names?|numbers?|dates?|years?|titles?|words?|city|country|sentences?|amounts?|prices?"
    r"|times?|units?|codes?|ids?|texts?|phrases?|lists?|hours|minutes|seconds|days|quotes?|lines?|scores?|reasons?"
    r"|rationales?|verdicts?|confidence|languages?|category|categories|labels?|types?|brands?|models?|streets?|grades?|ratings?"
    r"|tags?|explanations?|justifications?)",
    re.IGNORECASE,
)
"""The name of a value rather than a label."""

_REST_WORD = r"\"?'?(unknown|unclear|unsure|none|null|other|neither|n/a|mixed|not sure|can't say)\"?'?(?!\w)"
_REST_ANSWER = re.compile(
    rf"\b(?:{ANSWER_VERBS}|use)(?: with)? {_REST_WORD}\s+(?:if|when|where|for)\b"
    rf"|\b(?:if|when|otherwise|else)\b[^.;\n]{{0,60}}\b(?:{ANSWER_VERBS}|use)"
    rf"(?: with)? {_REST_WORD}|\w\w = {_REST_WORD}(?! \w)",
    re.IGNORECASE,
)
"""What to answer where no label fits."""


@dataclass(frozen=True, slots=True)
class StatedSet:
    """A closed set that a text states: at least two members, all different.

    Attributes:
        members: The answers.
        is_plain: Whether the text leaves no doubt; else an example has to confirm the set.
    """

    members: tuple[str, ...]
    is_plain: bool


def stated_sets(description: str, output_format: str = "") -> Iterator[StatedSet]:
    """Closed sets that a task states; those of the output format, and of the surest patterns, come first."""
    english = in_english(f"{description}\f{output_format}"[: 2 * LONGEST_READ])
    if english is not None:
        description, _, output_format = english.text.partition("\f")
    for stated in _stated_sets(description, output_format):
        if english is None or english.has_labels(stated.members):
            yield stated


def _stated_sets(description: str, output_format: str) -> Iterator[StatedSet]:
    text, form = map(_readable, (description, output_format))
    rests = _answers_of_rest(f"{text}\n{form}")
    for source in (form, text):
        if not _has_no_set(source):
            for members in listed_sets(source):
                yield from _with_rest(members, rests, True)
        for members, is_plain in _unmasked(source, _chained):
            if all(_IS_LABEL.fullmatch(member) for member in members):
                yield from _with_rest(members, rests, is_plain)
        for members, is_plain in _unmasked(source, _announced):
            yield from _with_rest(members, rests, is_plain)
        if source is form and not _generates(text):
            sorts = _SORTS.search(text) is not None
            looks_up = _LOOKS_UP.search(text) is not None and not sorts and "|" not in form
            for members, is_plain in _unmasked(form.strip(), sets_of_format):
                are_values = sum(_VALUE.fullmatch(member) is not None for member in members) * 2 >= len(members)
                is_doubtful = are_values or (looks_up and not is_polar(members))
                is_pair = (is_polar(members) or are_negations(members)) and not _SEVERAL_VALUES.search(text)
                is_list = is_plain or is_pair or (sorts and _are_labels(members, text))
                yield StatedSet(members, is_list and not is_doubtful)
    if is_brief_format(form) and not _has_no_set(text):
        rests = _answers_of_rest(text)
        for members, is_plain in _unmasked(text, _asked):
            yield from _with_rest(members, rests, is_plain)


def _has_no_set(text: str) -> bool:
    """Whether a text asks for several labels, or for new text."""
    return _SEVERAL.search(text) is not None or _generates(text)


def _generates(text: str) -> bool:
    """Whether a text asks for new text; a label may be a verb that elsewhere does (`Labels: accept, rewrite`)."""
    bare = _LABEL_LIST.sub(lambda match: _LABEL_OF_ONE_WORD.sub("label", match[0]), text)
    return _GENERATES.search(bare) is not None


def _share_labels(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two sets share two labels, however these are written."""
    return len({label.casefold() for label in one} & {label.casefold() for label in other}) > 1


def _are_labels(members: Sequence[str], description: str) -> bool:
    """Whether words with commas between them are labels and not the fields of an answer, as in `score, reason`."""
    return (
        is_polar(tuple(members))
        or are_opposites(members)
        or all(re.search(rf"(?<!\w){re.escape(member)}(?!\w)", description, re.IGNORECASE) for member in members)
    )


def _readable(text: str) -> str:
    """The text as it is searched: without the characters that stand for quotations, and without runs of spaces."""
    text = without_masks(text[:LONGEST_READ])
    return re.sub(r"\s+", lambda m: "\n" * min(m[0].count("\n"), 2) or " ", text)


def _announced(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    if _has_no_set(text):
        return
    yield from _as_listed(text, (*explained_sets(text), *numbered_sets(text)))
    yield from announced_sets(text)


def _chained(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    if not _has_no_set(text):
        yield from _as_listed(text, tuple(chained_sets(text)))


def _as_listed(text: str, explained: Sequence[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Sets whose labels are explained one by one; where a plain list has the labels, too, it tells best which they are.

    So it does in `Labels: red, blue. red means late, blue means lost, and other things do not count`.
    """
    is_read = 0 < len(explained) <= MOST_EXPLAINED
    listed = [members for members, is_plain in announced_sets(text) if is_plain] if is_read else []
    for members in explained:
        yield next((each for each in listed if _share_labels(each, members)), members), True


def _asked(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    yield from ((members, True) for members in asked_sets(text))


def _unmasked(
    text: str, search: Callable[[str], Iterator[tuple[tuple[str, ...], bool]]]
) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The sets that are found in a text whose quotations are one character each."""
    masked, quotations = mask(text)
    for members, is_plain in search(masked):
        found = tuple(unmask(member, quotations) for member in members)
        if len(found) == len(set(found)) and all(0 < len(member) <= LONGEST_LABEL for member in found):
            if all(": " in member for member in found):
                continue  # the lines of a form
            yield found, is_plain


def _answers_of_rest(text: str) -> list[str]:
    """What a text names as the answer where no label fits, as in `Labels: a, b. If unsure, answer unknown`."""
    matches = islice(_REST_ANSWER.finditer(text), MOST_MATCHES)
    return list(dict.fromkeys(match[1] or match[2] or match[3] for match in matches))


def _with_rest(members: tuple[str, ...], rests: Sequence[str], is_plain: bool) -> Iterator[StatedSet]:
    """A set with the first answer of the rest that is none of its members, if there is one; then the set itself."""
    rest = next((rest for rest in rests if rest not in members), None)
    if rest is not None:
        yield StatedSet((*members, rest), is_plain)
    yield StatedSet(members, is_plain)
