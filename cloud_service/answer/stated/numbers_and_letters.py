"""Rule: closed sets of numbers, letters and codes: `Rate it from 1 to 5`, `(a) cat (b) dog`, `0 = bad, 1 = good`."""

import re
from collections.abc import Iterator
from itertools import islice

from cloud_service.answer.stated.answer_words import MOST_MATCHES

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


def numbered_sets(text: str) -> Iterator[tuple[str, ...]]:
    """The codes, letters or numbers that a text asks for."""
    for match in islice(_CODES.finditer(text), MOST_MATCHES):
        yield tuple(re.findall(r"([\w+-]{1,12}) = ", match[1]))
    yield from _letters(text)
    yield from _scales(text)


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
