"""Rule: closed sets that a sentence itself asks for, `Route the mail to sales or billing`, or `Is it a cat or a dog?`.

No noun such as `labels` announces them (`announcements` has those). Where the sentence does not show where the list
begins, its items must be labels of one scale (`opposites`). The rest of the description must not ask for other work
(`task_sentences`).
"""

import re
from collections.abc import Iterator

from cloud_service.answer.stated.choice_lists import (
    INNER_PREPOSITION,
    LIST_MARK,
    PREPOSITION,
    ListStyle,
    is_function_word,
    read_list,
    until_preposition,
    without_capital,
    without_common_tail,
)
from cloud_service.answer.stated.explained_labels import is_reworked
from cloud_service.answer.stated.opposites import are_opposites, is_polar, negated_end
from cloud_service.answer.stated.polar_questions import polar_sets
from cloud_service.answer.stated.task_sentences import Request, requests_of

_INPUT = (
    r"(?:e-?mails?|mails?|messages?|tickets?|requests?|calls?|cases?|letters?|questions?|complaints?|quer(?:y|ies)"
    r"|enquir(?:y|ies)|inquir(?:y|ies)|issues?|documents?|items?|posts?|comments?|reviews?|articles?|files?|reports?"
    r"|orders?|chats?|conversations?|bugs?|incidents?|applications?|leads?|callers?|customers?|tweets?|headlines?|texts?"
    r"|notes?|invoices?|transactions?|products?|claims?|feedback|it|them|this)"
)
_OBJECT = rf"(?:(?:the|each|every|all|this|these|any|incoming|new) (?:[\w-]+ ){{0,2}}?)?{_INPUT}"
_EACH = r"(?:each|every) (?:[\w-]+ ){0,2}?[\w-]+"
_IS = r"(?:is|are|was|were|sounds?|seems?|feels?|looks?)"
_SUBJECT = (
    r"(?:(?:the|this|that|these|those|each|every|both|an?|his|her|its|their)\s[\w' -]{1,60}?|it|this|that|he|she|they)"
)

_CLEAR = [
    # "Route the mail to billing, technical or sales"
    re.compile(
        r"(?:.*?,\s)?(?:please |then )?(?:(?:route|forward|assign|dispatch|escalate)"
        r"|(?:route|forward|send|assign|direct|dispatch|escalate|refer|allocate"
        r"|(?:pass|transfer|move)(?! (?:[\w-]+ ){0,3}(?:texts?|sentences?|paragraphs?|words?|verbs?)\b))"
        rf"(?: {_OBJECT}| {_EACH}))"
        r" (?:to|into) (?P<list>.+)",
        re.IGNORECASE,
    ),
    # "Sort mails into work, family and spam"
    re.compile(
        r"(?:please |then )?(?:sort|divide|group|file|classify|put(?! the text\b)|categori[sz]e|separate)"
        r"(?! (?:the|this) (?:text|document|article|file|report|letter|note|conversation|chat|order|feedback)\b.* and )"
        rf"(?: {_OBJECT}| {_EACH}"
        r"| the (?!words?\b|letters?\b|numbers?\b|lists?\b|text\b|sentences?\b|verbs?\b|names?\b|lines?\b)\w+s)"
        r" (?:into|under|as|between) (?P<list>.+)",
        re.IGNORECASE,
    ),
    # "Tell me whether the customer is happy or unhappy", "Decide if the animal is a bird or a fish"
    re.compile(
        r"(?:please |then )?(?:say|tell(?: me| us)?|determine|decide|check|detect|judge|predict|assess|find out"
        rf"|identify|state) (?:whether|if) {_SUBJECT} {_IS} (?P<list>.+)",
        re.IGNORECASE,
    ),
    # "Which is it, a question or a statement"
    re.compile(
        r"(?:(?:say|tell me|decide|choose) )?(?:which|what)(?: one)?"
        r"(?: (?:is|are|was|were) (?:it|this|that|he|she|they)| (?:it|this|that) is| fits(?: best)?)"
        r"\s?[,:—-] ?(?P<list>.+)",
        re.IGNORECASE,
    ),
    # "Does the writer sound interested or bored"
    re.compile(
        rf"(?:does|do|did) {_SUBJECT} (?:sound|seem|feel|look)(?: more)? (?P<list>.+)",
        re.IGNORECASE,
    ),
    # "Does the customer want a refund or a replacement"
    re.compile(
        rf"(?:does|do|did) {_SUBJECT} (?:want|need|prefer|request|expect|ask for) (?P<list>an? .+\bor an? .+)",
        re.IGNORECASE,
    ),
]
_WITH_ARTICLE = re.compile(rf"(?:is|are|was|were) (?P<subject>{_SUBJECT}) (?P<list>an? .+)", re.IGNORECASE)
_QUESTION = re.compile(r"(?:is|are|was|were) (?!there\b|you\b|it (?:not|possible))(?P<list>\S.*)", re.IGNORECASE)
_SCALED = [
    # "Label each ticket high, medium or low priority"
    re.compile(
        r"(?:.*?,\s)?(?:please |then )?(?:label|mark|rate|tag|grade|flag|score|classify|judge)"
        r"(?: the| each| every| this| all| it| its| them)(?P<list>\b.+)",
        re.IGNORECASE,
    ),
    # "Does the writer agree, disagree or neither"
    re.compile(r"(?:does|do|did) (?:the|this|that|each|he|she|it)(?P<list>\b.+)", re.IGNORECASE),
    re.compile(
        r"(?:say|tell(?: me| us)?|determine|decide|check|detect|judge|predict|assess|find out) (?:whether|if) "
        r"(?:the|this|that|each|he|she|it)(?P<list>\b.+)",
        re.IGNORECASE,
    ),
]
_COLON = re.compile(
    r"(?:label|mark|rate|tag|grade|flag|score|judge|check|rank) [\w' -]{1,40}: (?P<list>.+)", re.IGNORECASE
)
_YES_NO = re.compile(
    r"[^?]{3,200}\?\s*(?P<list>(?:yes(?:,|/| or) ?no|no(?:,|/| or) ?yes)\b.*?)\.?", re.IGNORECASE | re.DOTALL
)
_JUDGES = re.compile(
    r"(?:please )?(?:judge|decide|classify|determine|(?:tell me|say|state) (?:which|what it is))\b", re.IGNORECASE
)
_LEADING = re.compile(r"(?P<list>[^.:;?!\n]{3,80}?)(?:[:?.]| [-–—])\s+\S")
_CODES = re.compile(r"(?:[\w+-]{1,12} ?= ?[\w' -]{1,40}(?:[,;] ?|\Z)){2,20}")

_BEFORE_LABEL = re.compile(
    rf"(?:{PREPOSITION}|an?|the|this|that|every|each|very|more|most|too|not|no|always|often|than|between|into|their|his"
    r"|her|its|\w+ing|and|called|like)$",
    re.IGNORECASE,
)
"""Words behind which no label of a question stands: `Is the text about cats or dogs?`"""

_NO_BOX = re.compile(
    r"(?:order|length|date|size|time|ascending|descending|alphabetical|left|right|start|end|top|bottom|beginning|front"
    r"|back)\b.*|(?:[\w-]+ )?(?:tables?|lists?|columns?|rows?|json|csv|sentences?|paragraphs?)|pros|cons"
    r"|[\w-]+ (?:english|tense|spelling|voice)",
    re.IGNORECASE,
)
"""An order, a place in a text, a form or a part of it: nothing that texts are sorted into."""

_TAKES_APART = re.compile(r"(?:please |then )?(?:separate|divide|group|put)\b", re.IGNORECASE)
"""Such a verb may ask for the parts of a text, as in `Separate each address into street and city`."""

_OR, _LIST = ListStyle(), ListStyle(commas=True, last_and=True)


def asked_sets(text: str) -> Iterator[tuple[str, ...]]:
    """The sets that a sentence of a description asks for, when the other sentences ask for nothing else."""
    text = re.sub(
        r"\b((?:which|what)(?: one)? is (?:it|this|that))\? ([A-Z](?=[a-z])|[a-z])", _joined, text, flags=re.IGNORECASE
    )
    yield from _one(_leading(text))
    for request in requests_of(text):
        yield from _sets_of(request)
        yield from polar_sets(request)
    if match := _YES_NO.fullmatch(text.strip()):
        yield from _one(_items(match["list"], _LIST))


def _sets_of(request: Request) -> Iterator[tuple[str, ...]]:
    text = request.text
    for pattern in _CLEAR:
        if match := pattern.fullmatch(text):
            items = _items(match["list"], _LIST if " into " in text else _OR)
            if _TAKES_APART.match(text) and not (re.search(r"\bor\b", match["list"]) or are_opposites(items)):
                continue
            if not re.search(r" (?:in)?to ", text) or not any(map(_NO_BOX.fullmatch, items)):
                yield from _one(items)
    if request.is_question or request.is_whole:
        yield from _one(_of_question(text))
    for pattern in _SCALED:
        if match := pattern.fullmatch(text):
            yield from _one(_scaled(match["list"]))
    if match := _COLON.fullmatch(text):
        items = _items(match["list"], _LIST)
        yield from _one(items if are_opposites(items) else ())
    if request.is_whole:
        items = without_capital(_items(text, _OR) or ("",))
        yield from _one(items if are_opposites(items) else ())
        if _CODES.fullmatch(text):
            yield from _one(_codes(text))


def _leading(text: str) -> tuple[str, ...]:
    """The labels of `Yes or no: is it late?` and of `Fact or opinion? Judge the text`."""
    match = _LEADING.match(text)
    if match is None or is_reworked(text):
        return ()
    items = without_capital(_items(match["list"], _OR) or ("",))
    is_judged = _JUDGES.match(text[match.end() - 1 :]) is not None
    return items if is_polar(items) or are_opposites(items) or is_judged else ()


def _joined(match: re.Match[str]) -> str:
    """`Which is it? Fact or opinion` as one sentence."""
    return f"{match[1]}: {match[2].lower()}"


def _one(items: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(items) > 1:
        yield items


def _of_question(text: str) -> tuple[str, ...]:
    """The labels of `Is the tone friendly or rude` and of `Is the sentence a fact or an opinion`."""
    match = _WITH_ARTICLE.fullmatch(text)
    subject = match["subject"].split() if match else []
    if match and (len(subject) == 1 or not _BEFORE_LABEL.match(subject[-1])):
        return _items(match["list"], _OR)
    match = _QUESTION.fullmatch(text)
    items = _items(match["list"], _OR, subject=True) if match else ()
    if not items:
        return ()
    words = items[0].split()
    if label := negated_end(items[0], items[-1]):
        return (label, *items[1:]) if len(words) > len(label.split()) else ()
    if len(words) < 2 or any(len(item.split()) > 1 for item in items[1:]) or _BEFORE_LABEL.match(words[-2]):
        return ()
    return (words[-1], *items[1:])


def _scaled(text: str) -> tuple[str, ...]:
    """The labels of a scale behind words of which none tells where they begin."""
    items = _items(text.strip(), _OR, subject=True)
    if not items:
        return ()
    first, *others = items
    words = first.split()
    for size in (1, 2):
        found = (" ".join(words[-size:]), *others)
        if are_opposites(found):
            return found
    # "like or dislike the film"
    heads = (words[-1], *(other.split()[0] for other in others))
    rests = [other.split()[1:] for other in others]
    is_object = rests[-1] and is_function_word(rests[-1][0]) and not any(rests[:-1])
    return heads if is_object and are_opposites(heads) else ()


def _items(text: str, style: ListStyle, subject: bool = False) -> tuple[str, ...]:
    """The items of a list at the end of a sentence, without articles and without what follows the last label.

    Args:
        text: The list with what follows it.
        style: How the list may look.
        subject: Whether the first item has words of the sentence in front of it, which may be any.
    """
    text = until_preposition(text, subject)
    text = re.sub(r"((?:\A|,|\bor|\band|,\s*(?:or|and))\s*)(?:an?|the)\s+(?=\S)", r"\1", text, flags=re.IGNORECASE)
    lead, text = _without_subject(text) if subject else ("", text)
    reading = next(read_list(text, style), None)
    if reading is None or not reading.is_sure:
        return ()
    items = reading.items
    if any(INNER_PREPOSITION.search(item) for item in items):
        return ()
    return without_common_tail((lead + items[0], *items[1:]))


def _without_subject(text: str) -> tuple[str, str]:
    """The text in front of the last word before the first mark, and the list from that word on."""
    begin = LIST_MARK.search(text)
    start = text.rstrip()[: begin.start() if begin else 0].rfind(" ") + 1
    return text[:start], text[start:]


def _codes(text: str) -> tuple[str, ...]:
    """The codes of `0 = bad, 1 = good`: digits, or letters whose meanings are labels of one scale."""
    pairs = [part.split("=") for part in re.split(r"[,;] ?", text) if part]
    if any(len(pair) != 2 for pair in pairs):
        return ()
    codes, meanings = (tuple(side.strip() for side in sides) for sides in zip(*pairs, strict=True))
    is_set = all(map(str.isdigit, codes)) or are_opposites(meanings)
    return codes if is_set and len(set(codes)) == len(codes) else ()
