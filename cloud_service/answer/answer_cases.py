"""Rule: closed sets that a text states case by case: `Answer A if ..., otherwise B`, or `0 = bad, 1 = good`."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from cloud_service.answer.announcements import MOST_MATCHES, is_polar

_WORD = r"[\w+#&\uE000-\uF8FF-]{1,40}"
_SAY = r"(?:say|answer|reply|respond|return|write|output|print|give|use|mark(?: it)?)(?: with)?"
_END = r"\s*(?:$|(?=[.;!?\n)]))"
_NO_LABEL = re.compile(
    r"(?:(?-i:a)|an|the|in|with|by|to|for|at|on|of|if|when|about|from|its?|your|that|this|one|only|exactly|either|each|any|all"
    r"|as|how|what|which|word|and|or|you|me|is|are|was|does|do|did|can|could|should|would|will|has|have|not|nothing"
    r"|so|he|she|his|her|them|they|none|null|unknown|empty|something|anything|everything)$",
    re.IGNORECASE,
)
_REST = (
    r"(?:(?:any|every)thing else|all (?:the )?others?|(?:the )?others|(?:all )?the rest|whatever else|more|otherwise"
    r"|else)"
)
_CASE = rf"(?:{_SAY} )?({_WORD}) (?:if|when|for|to|where) [^,;.\n]{{1,120}}?"
_NOT_SO = rf"(?:otherwise|else|if not|(?:when|if) (?:it|there) (?:is|does|do) ?(?:not|none)|(?:to|for) {_REST})"
_PAIRS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_CASE}[,;]? (?:and |but )?(?:otherwise|else|in all other cases)[,:]? (?:{_SAY} )?({_WORD}){_END}",
        rf"{_CASE}[,;]? (?:and |but )?(?:{_SAY} )?({_WORD}) {_NOT_SO}{_END}",
        rf"\b{_SAY} ({_WORD}) (?:to|for|if|when) [^.;\n]{{1,120}}[.;]\s*{_SAY} ({_WORD}) (?:to|for) {_REST}{_END}",
        rf"\b{_SAY} ({_WORD}) if [^.;,\n]{{1,120}}?,? (?:and|or) ({_WORD}) if [^.;\n]{{1,120}}{_END}",
        rf"\b{_SAY} ({_WORD}) for [^.;,\n]{{1,60}}?,? (?:and|or) ({_WORD}) for [^.;\n]{{1,60}}{_END}",
        rf"\bif [^.;,\n]{{1,120}}, {_SAY} ({_WORD})[,;] (?:and )?(?:otherwise|else)[,:]? (?:{_SAY} )?({_WORD}){_END}",
        rf"\bmark it ({_WORD}); mark the rest ({_WORD}){_END}",
        rf"(?:^|[:;.,]\s*)({_WORD}) = ([^,;.=\n]{{1,120}}), ({_WORD}) = not \2{_END}",
    )
]
_WHEN = rf"{_WORD} (?:for|if|when) [^,;.\n]{{1,120}}, "
_CHAINS = [
    # A for ..., B for ..., else C
    (
        rf"(?:^|[.;:?\n]\s*|\b{_SAY} )((?:(?:{_SAY} )?{_WHEN}){{1,20}})(?:otherwise|else) (?:{_SAY} )?({_WORD}){_END}",
        rf"(?:^|, )(?:{_SAY} )?({_WORD}) (?:for|if|when) ",
    ),
    (
        rf"(?:^|[.;:?\n]\s*|\b{_SAY} )((?:{_WHEN}){{1,20}})({_WORD}) (?:in between|otherwise){_END}",
        rf"(?:^|, )({_WORD}) (?:for|if|when) ",
    ),
    # A for ..., B for ..., C for ...
    (
        rf"\b{_SAY} ((?:{_WORD} for [^,;.\n]{{1,60}}, ){{2,20}})(?:and |or )?({_WORD}) for [^,;.\n]{{1,60}}{_END}",
        rf"(?:^|, )({_WORD}) for ",
    ),
    # ... -> A, anything else -> B
    (
        rf"(?:^|[.;:?\n]\s*)((?:[^,;.:>\n]{{1,120}}-> ?{_WORD}, ){{1,20}}){_REST} ?-> ?({_WORD}){_END}",
        rf" ?-> ?({_WORD}), ",
    ),
    # A: ... B: ... C: more.
    (
        rf"(?:^|[.;\n]\s*)((?:{_WORD}: [^.;:\n]{{1,120}}[.;\n]\s{{0,9}}){{2,20}})({_WORD}): {_REST}{_END}",
        rf"({_WORD}): [^.;:\n]+[.;\n]\s*",
    ),
]
_CODES = re.compile(
    r"(?:classify|labels?|classes|meanings?|codes?|answer|output|return)[^.:\n]{0,30}: "
    r"((?:[\w+-]{1,12} = [^,;.=\n]{1,40}[,;] ?){1,20}(?:and |or )?[\w+-]{1,12} = [^,;.=\n]{1,40})(?:$|[.\n])",
    re.IGNORECASE,
)
_SCALE = re.compile(
    r"(?:\bscale (?:from|of|between)|\bscale:|\b(?:score|rating|grade|integer|digit|number) (?:from|between))"
    r" (\d{1,2}) ?(?:to|and|-|–|through) ?(\d{1,2})(?![\w%]|[.,]\d)",
    re.IGNORECASE,
)
_EXPLAINED_SCALE = re.compile(
    r"\b(?:from|between|of) (\d) \([^()\n]{1,40}\) (?:to|and|through) (\d) \([^()\n]{1,40}\)"
    r"|\b(?:from|between) (\d) (?:to|and) (\d)(?=,? (?:where|with|\d) (?:\d )?(?:is|means|being|meaning|for)\b)",
    re.IGNORECASE,
)
_SHORT_SCALE = re.compile(
    r"\((\d) ?(?:-|–|to) ?(\d)\)"
    r"|\b(?:integer|whole number|digit|score|rating|grade|level) (\d) ?(?:-|–|to) ?(\d)(?![\w.,]\d|[%-])"
    r"|\b(\d) ?(?:to|-|–) ?(\d) (?:stars|points)\b(?=.*\bnumber\b)",
    re.IGNORECASE,
)
_LISTED_SCALE = re.compile(
    r"\b(?:severity|priority|score|rating|grade|level|mark|class|urgency) (?:of )?"
    r"((?:\d, ){1,9}\d,? or \d)(?![\d.,]\d|\w)",
    re.IGNORECASE,
)
_OF_SCALE = re.compile(
    r"\b(?:rate|rating|score|grade|scale|how|judge|estimate|assess|level|severity|stars?)\b"
    r"|\A(?:only |just )?(?:an? |the |one )?(?:integer|number|digit)\b",
    re.IGNORECASE,
)
_RATES = re.compile(
    r"(?:\A|[.:!?\n]\s*|\b(?:and|then|to|you|please) )(?:rate|judge|assess|grade|score|estimate|classify)\b|\bhow \w+",
    re.IGNORECASE,
)
_STEPS = re.compile(r"\b(?:decimals?|half|halves|fractions?|steps of|0\.\d|percent)\b", re.IGNORECASE)
MOST_STEPS = 11
"""Numbers of a scale; one of more is not a set of labels."""

MOST_SCALES = 4

_LETTERS = re.compile(
    r"\b(?:the|its|one|a|single|option|correct|right) letter\b|\bletter of\b|\bletter only\b", re.IGNORECASE
)
_OPTION = re.compile(r"(?:(?<=[\s(])|\A)\(?([A-Ha-h])[).] (?=\S)")


def case_sets(text: str) -> Iterator[tuple[str, ...]]:
    """`Answer A if ..., otherwise B` and its like; each set once."""
    seen: set[tuple[str, ...]] = set()
    for members in _case_sets(text):
        if members not in seen:
            yield members
        seen.add(members)


def _case_sets(text: str) -> Iterator[tuple[str, ...]]:
    for whole, part in _CHAINS:
        for match in islice(re.finditer(whole, text, re.IGNORECASE), MOST_MATCHES):
            members = (*re.findall(part, match[1], re.IGNORECASE), match[2])
            if (len(members) > 2 and not any(map(_NO_LABEL.match, members))) or _is_pair(members, text):
                yield members
    for pattern in _PAIRS:
        for match in islice(pattern.finditer(text), MOST_MATCHES):
            members = (match[1], match[match.lastindex or 2])
            if _is_pair(members, text):
                yield members
    for match in islice(_CODES.finditer(text), MOST_MATCHES):
        yield tuple(re.findall(r"([\w+-]{1,12}) = ", match[1]))
    yield from _letters(text)
    yield from _scales(text)


def _is_pair(members: Sequence[str], text: str) -> bool:
    """Whether two words are a pair like yes and no, or the text asks for each of them as an answer."""
    if is_polar(tuple(members)):
        return True
    quoted = all(re.fullmatch(r"[\uE000-\uF8FF]", member) for member in members)
    return quoted or all(
        not _NO_LABEL.match(member)
        and (
            re.search(rf"\b{_SAY} {re.escape(member)}(?!\w)|(?:otherwise|else) {re.escape(member)}(?!\w)", text, re.I)
            or re.search(rf"{re.escape(member)} (?:otherwise|else|(?:if|when) it (?:is|does) ?not)", text, re.I)
        )
        for member in members
    )


def _letters(text: str) -> Iterator[tuple[str, ...]]:
    """The letters of `(a) the cat (b) the dog. Answer with the letter`."""
    found = tuple(match[1] for match in _OPTION.finditer(text))
    if len(found) > 1 and _LETTERS.search(text) and "abcdefgh".startswith("".join(found).lower()):
        yield found


def _scales(text: str) -> Iterator[tuple[str, ...]]:
    """`Rate it on a scale from 1 to 5`, and `How good is it, from 1 (bad) to 3 (good)?`, as digits."""
    if _STEPS.search(text):
        return
    bare = re.sub(r"\s*\([^()\d][^()]*\)", "", text)
    for pattern, searched in ((_SCALE, bare), (_EXPLAINED_SCALE, text), (_SHORT_SCALE, bare)):
        for match in islice(pattern.finditer(searched), MOST_SCALES):
            low, high = (int(number) for number in match.groups() if number is not None)
            of_scale = _RATES if pattern is _SHORT_SCALE else _OF_SCALE
            if 0 < high - low < MOST_STEPS and of_scale.search(text):
                yield tuple(map(str, range(low, high + 1)))
    for match in islice(_LISTED_SCALE.finditer(bare), MOST_SCALES):
        yield tuple(re.findall(r"\d", match[1]))
