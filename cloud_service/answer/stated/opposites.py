"""Rule: whether words are labels of one scale, such as `low, medium, high`, or opposites: `happy, unhappy`, `yes, no`.

Where a sentence does not show where its list of answers begins, only such words are taken for labels.
"""

import re
from collections.abc import Sequence

_SCALES = tuple(
    frozenset(words.split())
    for words in (
        "lowest low medium moderate normal middle average high highest critical urgent elevated severe",
        "trivial minor moderate major critical blocker severe mild",
        "positive negative neutral mixed favorable unfavorable",
        "good bad ok okay average mediocre poor fair great excellent terrible awful neutral better worse best worst",
        "true false correct incorrect right wrong valid invalid unknown",
        "yes no maybe",
        "weak medium strong",
        "easy simple medium moderate normal hard difficult tricky",
        "small medium large big tiny huge short long",
        "hot warm mild cool cold",
        "mild medium hot spicy",
        "happy sad angry joyful cheerful gloomy calm afraid fearful surprised disgusted neutral annoyed excited bored",
        "interested bored frustrated satisfied disappointed furious content scared worried grateful confused pleased",
        "happy angry annoyed calm upset frustrated satisfied disappointed confused neutral grateful worried",
        "joy sadness anger fear surprise disgust love trust",
        "safe unsafe harmful dangerous harmless risky suspicious normal borderline",
        "toxic clean harmless abusive offensive spam ham legitimate genuine fake real phishing",
        "friendly polite rude neutral hostile aggressive kind",
        "agree disagree neither neutral undecided",
        "support supports oppose opposes neutral neither",
        "like likes dislike dislikes love loves hate hates",
        "accept reject approve deny approved denied accepted rejected pass fail passed failed",
        "formal informal neutral casual",
        "fact opinion subjective objective",
        "male female singular plural active passive even odd open closed",
        "past present future",
        "beginner intermediate advanced expert",
        "similar different same equal unequal identical",
        "sarcastic sincere serious ironic funny",
        "for against",
        "urgent routine normal",
        "relevant irrelevant",
        "indoor outdoor indoors outdoors",
        "complete partial incomplete full empty",
        "new old used young",
        "wild tame fresh rotten alive dead",
    )
)
_ANY_SCALE = frozenset(
    ("neutral", "neither", "mixed", "unclear", "unknown", "other", "both", "none", "unsure", "undecided", "n/a")
)
_POLAR = (
    ("yes", "no"), ("true", "false"), ("y", "n"), ("1", "0"), ("t", "f"), ("ok", "skip"), ("pass", "fail"),
    ("accept", "reject"), ("+", "-"), ("positive", "negative"), ("spam", "ham"), ("good", "bad"), ("on", "off"),
)  # fmt: skip
_DEGREE = re.compile(r"(?:very|somewhat|partly|partially|mostly|slightly|fairly|quite|rather|extremely|too) ")
_BEGINS_NEGATION = r"(?:not |no |un|non-?)"
_DOES_NOT = r"(?:does[ _]not|doesn['’]t|do not|don['’]t|cannot|can['’]t|will not|won['’]t)[ _]"
SHORTEST_NEGATED = 4
"""Characters of a word that `un` negates: not `unit`."""

_NOT = r"(?:not |no |un|in|im|il|ir|dis|non-?)"


def are_opposites(items: Sequence[str]) -> bool:
    """Whether all items are words of one scale, or one negates another; `neither` and its like fit every scale."""
    words = [_DEGREE.sub("", item.lower()) for item in items]
    labels = [word for word in words if word not in _ANY_SCALE]
    if len(words) < 2 or not labels:
        return False
    known = any(scale.issuperset(labels) for scale in _SCALES) and len(set(words)) > 1
    if known and len(labels) > 1:
        return True
    negated = {word for word in words for other in words if re.fullmatch(_NOT + re.escape(other), word)}
    return bool(negated) and len(labels) == 2 and len(words) <= 4


def is_polar(members: tuple[str, ...]) -> bool:
    """Whether they are a pair like yes and no."""
    return tuple(member.lower() for member in members) in _POLAR + tuple(pair[::-1] for pair in _POLAR)


def are_negations(items: Sequence[str]) -> bool:
    """Whether one of two items says no to the other: `paid, unpaid`, `fits, does not fit`."""
    if len(items) != 2:
        return False
    words = [item.lower() for item in items]
    return any(
        (len(said) >= SHORTEST_NEGATED and re.fullmatch(_BEGINS_NEGATION + re.escape(said), other))
        or re.fullmatch(_DOES_NOT + re.escape(said.removesuffix("s")), other)
        for said, other in (words, words[::-1])
    )


def negated_end(first: str, last: str) -> str:
    """The label that `not ...` negates, if the text before ends with it: `comment urgent`, `not urgent`."""
    label = last.removeprefix("not ") if last.startswith("not ") else ""
    return label if label and f" {first}".endswith(f" {label}") else ""
