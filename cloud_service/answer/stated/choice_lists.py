"""Rule: the items of a list of answers, such as `spam, ham or not sure`, and where the list ends.

What announces a list is decided in `announcements`. A list whose items are not clear has none.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloud_service.answer.stated.opposites import are_opposites

MOST_LABELS = 64
"""Items of a list; a longer list is not taken for a closed set."""

LONGEST_LIST = 1_000

MOST_WORDS, MOST_WORDS_WIDE = 3, 6
"""Words of one label without quotation marks, in a list that is announced vaguely, and in one announced plainly."""

WORD = r"(?:[\w+#&%'’/\uE000-\uF8FF-]|(?<!\S)\.(?=[a-z])){1,40}"
"""One word of a label, such as `.py`. A quotation is one character: see `quotations`."""


PREPOSITION = (
    r"(?:with|about|for|in|on|at|by|as|from|to|towards?|against|of|after|before|based|depending|according|given|if|when"
    r"|overall|under|near|over)"
)
INNER_PREPOSITION = re.compile(rf"(?<=\S)\s+({PREPOSITION})\b", re.IGNORECASE)
LIST_MARK = re.compile(r",|/|\s(?:or|and)\s", re.IGNORECASE)
_UNFINISHED = re.compile(r".*\b(?:out|up|down|off|kind|type|sort|piece|part|full|made|lack|because|due)", re.IGNORECASE)
_NEW_TEXT = re.compile(r"\b(?:tables?|lists?|json|csv|sentences?|notes?|brackets)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ListStyle:
    """How a list may look.

    Attributes:
        commas: Whether it needs no `or` before its last item.
        last_and: Whether an `and` may stand before the last item.
        wide: Whether labels may be long and may begin with any word, except for the first label; the words before the
            list leave no doubt then.
        any_first: Whether the first label, too, may begin with any word.
    """

    commas: bool = False
    last_and: bool = False
    wide: bool = False
    any_first: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The items of a list, and whether no other reading is as good."""

    items: tuple[str, ...]
    is_sure: bool = True


_COMMON = re.compile(
    r"(?:priority|urgency|severity|risk|importance|quality|difficulty|sentiment|tone|mood|style|register|emotion|levels?"
    r"|impact|department|team|desk|queue|folder|category|class|box|stage|related)$",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"(?:e-?mail|mail|message|ticket|request|call|case|letter|question|complaint|issue|document|item|post|comment|review"
    r"|article|report|order|text|sentence|word|number|tweet|headline|statement|claim)s?$",
    re.IGNORECASE,
)

_TAIL = (
    r",?\s+(?:depending|according|based|nothing else|and nothing|without (?:any|an|further|explanation|punctuation)"
    r"|as (?:classes|labels|categories|tags|options|your answer|the|it|you|they|appropriate)"
    r"|appl(?:y|ies) (?:best|here|to)|(?:best )?fits? (?:best|the|it|this)"
    r"|describes? (?:best|the|it|this)|(?:after|before|when|by) (?:reading|looking|you)|(?:to|for) (?:every|each)"
    r"|(?:all )?(?:(?:in|with) )?(?:lower|upper)[ -]?case|whichever|whatever(?= \S))\b"
    r"|\s+and\s+(?:write|print|return|output|give)\s+(?:it|that)\s+in\s+(?:lower|upper)\b"
    r"|,(?<!\bit,)\s*(?:and )?(?:pick|choose|select|take|find|give(?! and take\b)|say|write|answer|nothing(?! or\b)"
    r"|never|without)\b(?= \S)"
    r"|\s(?<!\bor\s)(?<!\band\s)(?<!\bnot\s)(?<!n['’]t\s)(?:(?-i:only)|(?<!,\s)(?:(?:best )?fits?|appl(?:y|ies)))\Z"
    r"|\s(?-i:Write|Use|Answer|Say|Reply|If|When)\s|\s\S+ (?:means|stands for|is for|=)\s"
)
_SHORT_TAIL = r"|,?\s+(?:after|before|so that|without|but|(?:to|for) (?:the|a)|if|when|in (?:the|each))\b"
_CUT_WIDE = re.compile(rf"(?:{_TAIL}).*", re.IGNORECASE | re.DOTALL)
_CUT_NARROW = re.compile(rf"(?:{_TAIL}{_SHORT_TAIL}).*", re.IGNORECASE | re.DOTALL)

_FUNCTION_WORD = re.compile(
    r"(?:an?|the|in|with|by|to|for|at|on|of|if|when|about|from|its?|your|that|this|one|only|exactly|either|each|any|all"
    r"|as|how|what|which|word|and|or|you|me|is|are|was|does|do|did|can|could|should|would|will|has|have|they|every|whether)"
    r"\b(?=.)"
    r"|(?:it|its|the|not|word for word|nothing|so|he|she|his|her|them|they|briefly)$",
    re.IGNORECASE,
)
_VALUE = re.compile(r"(?:kind|type|style|sort|name) of\b|(?:language|topic|category|label|name)\Z", re.IGNORECASE)
_NO_FIRST = re.compile(
    r"(?:an?|the|in|with|by|to|for|at|on|of|if|when|about|from|its?|your|that|this|one|only|exactly|each|any|all|as|how"
    r"|what|which|who|where|why|whether|word|and|or|you|me|every|they|something|anything)\b(?=.)|(?:down|out) \S"
    r"|(?:it|its|the|nothing|so|he|she|his|her|them|they)$",
    re.IGNORECASE,
)
"""Begins no first label after words such as `Answer`: `Answer in English or German`."""

_PREPOSITION = re.compile(r"(?:in|with|by|for|at|on|about|from|to|after|before|under|over|near)\b", re.IGNORECASE)
_REMARK_BEHIND = re.compile(r",\s*(?:and )?(?:after|before) the\b.*", re.IGNORECASE | re.DOTALL)
_WITH_ONLY = re.compile(r"\w only\s*\Z", re.IGNORECASE)
_OPEN_LIST = re.compile(
    r"(?:(?:and|or|but|so on|etc|such as|for (?:example|instance)|eg|ie|the like|similar|the rest|whichever|whatever"
    r"|(?:some|any)thing (?:like|similar|to)|not at all|then)\b"
    r"|(?:print|give(?! and take\b)|write|return|use|say|answer|reply|respond|output|pick|choose|select"
    r"|one of(?! us\b)) \S"
    r"|(?:do not|don't|as|like|which|whether|only|just the) \S"
    r"|no (?:explanations?|comments?|full|further|other|quotes|punctuation|extra|sentences?|text|words|reasons?"
    r"|greeting|articles?)\b|(?:digits|dashes|letters|characters|hyphens|dots|commas|symbols|asterisks|underscores|quotes|brackets"
    r"|spaces|semicolons)\Z|(?:every|each) word|(?:lower|upper|title|camel|snake)[ -]?case)",
    re.IGNORECASE,
)
"""Begins an item of a list that is not closed, or that says how to write."""

_CAPITALS = re.compile(r"(?!(?:THE|AN|A|ITS|YOUR) )(?=[^a-z]*[A-Z]{2})[^a-z\uE000-\uF8FF]+")
_NO_SIDE = re.compile(r"(?:both|neither|none|nobody|no one)\b", re.IGNORECASE)
_MASKED_AND_MORE = re.compile(rf"[\uE000-\uF8FF] {PREPOSITION}\b", re.IGNORECASE)
"""A quotation with a remark behind it: `"a" or "an" in front of the noun`."""

_CLAUSE = re.compile(
    r"\S\s(?:if|when|unless|because|but|otherwise|such as|depending|which|who|please)\s", re.IGNORECASE
)
_NOUN = r"(?:word|label|letter|string|value|tag)"
_DATE = re.compile(r"d{1,2}|m{1,3}|y{2,4}|h{1,2}|s{1,2}", re.IGNORECASE)
_OPEN_END = re.compile(
    r"\b(?:etc|and so on|and so forth|and more|for example|e\.g|such as|or the like|as (?:asked|needed|requested))\b",
    re.IGNORECASE,
)
_TEXT_UNIT = r"(?:words|sentences|lines|letters|characters)"
_PATTERN = re.compile(
    r"[YMDHS]{2,4}(?:[-/:][YMDHS]{2,4})+"
    r"|(?:.* )?(?:\d+|about \w+|two|three|four|five|six|ten|few|several|many|some|short|long|simple|full|single|own)"
    rf" {_TEXT_UNIT}",
    re.IGNORECASE,
)
_SOME_TEXT = re.compile(rf".* {_TEXT_UNIT}", re.IGNORECASE)
"""Says how an answer is written: `YYYY-MM-DD`, or `two or three words`. `nice words` may be a label where
words announce it plainly."""

_MORE_THAN_A_LABEL = re.compile(
    r".*\b(?:and|plus) (?:the|an?|your|its)\b.*|(?:yes|no|true|false) (?:and|plus|as well)\b.*", re.IGNORECASE
)
"""Asks for something besides the label: `yes or no and the date`."""

_REMARK = re.compile(r".+ with (?:the|an?|your|its)\b.*", re.IGNORECASE)

_CLOSING = {"[": "]", "{": "}", "<": ">", "(": ")"}


def first_sentence(text: str) -> tuple[str, str]:
    """A list with the rest of its sentence, without remarks in brackets, and the character that follows."""
    text = text[:LONGEST_LIST]
    if text[:1] in _CLOSING:
        inside, closed, _ = text[1:].partition(_CLOSING[text[0]])
        return (inside, "") if closed else ("", "")
    rest = re.sub(r"\s*\([^()]*\)", "", text).partition(")")[0]
    sentence = re.split(r"[.;!?:](?=\s|$)|\n|\s*->", rest, maxsplit=1)[0]
    return sentence, rest[len(sentence) :].lstrip()[:1]


def read_list(text: str, style: ListStyle) -> Iterator[Reading]:
    """The ways to read a list, the likeliest first; none when it is not clear what its items are."""
    if _OPEN_END.search(text):
        return
    whole, text = text, (_CUT_WIDE if style.wide else _CUT_NARROW).sub("", text).strip(" ,")
    if not _PREPOSITION.match(text):
        text = _REMARK_BEHIND.sub("", text)
    text = re.sub(r"\A(?:either|exactly)\s+", "", text, flags=re.IGNORECASE)
    seen: set[tuple[str, ...]] = set()
    for parts, is_sure in _split(text, style):
        items = tuple(map(_bare, parts))
        if not style.wide:
            items = without_common_tail(items)
        if items not in seen and _is_sound(items, style, in_capitals=text == text.upper()):
            if style.any_first and " or " not in text and _WITH_ONLY.search(whole) and " " in "".join(items):
                # `Labels: act, leave to others, read only`: the last word may belong to the label.
                yield Reading((*items[:-1], f"{items[-1]} only"), is_sure=False)
                is_sure = False
            yield Reading(items, is_sure)
        seen.add(items)


def until_preposition(text: str, has_subject: bool = False) -> str:
    """A list without the phrase behind its last label, as in `happy or sad about it`; empty where that is unclear.

    Args:
        text: The list.
        has_subject: Whether words of the sentence stand in front of the first label.
    """
    marks = list(LIST_MARK.finditer(text))
    if not marks:
        return ""
    head, last = text[: marks[-1].end()], text[marks[-1].end() :]
    cut = INNER_PREPOSITION.search(last)
    if not cut or (not has_subject and re.search(rf"\b{cut[1]}\b", head, re.IGNORECASE)):
        return text
    if cut[1].lower() == "of" or _UNFINISHED.fullmatch(last[: cut.start()]) or _NEW_TEXT.search(last):
        return ""
    return head + last[: cut.start()]


def without_common_tail(items: tuple[str, ...]) -> tuple[str, ...]:
    """The items without a noun that stands behind the last one for all of them: `high or low priority`.

    A noun of what is judged, as in `a good or bad review`, goes only behind labels of one scale: `a question or
    feature request` stays.
    """
    if len(items) < 2:
        return items
    *others, last = items
    label, _, tail = last.rpartition(" ")
    shorter = (*others, label)
    if not label or any(other.lower().split()[-1:] == [tail.lower()] for other in others):
        return items
    return shorter if _COMMON.match(tail) or (_INPUT.match(tail) and are_opposites(shorter)) else items


def without_capital(items: tuple[str, ...]) -> tuple[str, ...]:
    """The items of `Good or bad?`, without the capital that only the beginning of a sentence gives."""
    first, *others = items
    is_given = re.fullmatch(r"[A-Z][a-z]+", first) and all(other == other.lower() for other in others)
    return (first.lower(), *others) if is_given else items


def _bare(item: str) -> str:
    """An item without marks around it, and without the noun before its quotation, as in `the word "yes"`."""
    item = item.strip(" *").removesuffix(".")
    return re.sub(
        rf"\A(?:the (?:single )?)?{_NOUN}\s+(?=[\uE000-\uF8FF]$)|\Athe (?:single )?{_NOUN}\s+(?=\S+$)", "", item
    )


def _split(text: str, style: ListStyle) -> Iterator[tuple[list[str], bool]]:
    parts = re.split(r"\s*,\s*", text)
    bars = re.split(r"\s*\|\s*" if "|" in text else r"\s*/\s*", text if len(parts) == 1 else "")
    if len(bars) > 1 and not re.search(r"\s(?:or|and)\s", text, re.IGNORECASE):
        if "|" in text or re.search(r"\s/\s", text) or all(len(bar.split()) <= 2 for bar in bars):
            yield bars, True
        return
    if "|" in parts[0] or re.search(r"\s/\s", text):
        return
    *parts, last = parts
    oxford = re.match(r"(?:or(?! else\b)|and)\s+(?:also\s+)?", last, re.IGNORECASE)
    if oxford and parts:
        if len(parts) == 1 and oxford[0][0] in "aA" and not (style.last_and and " or " not in parts[0]):
            return  # `wrong, and mend it`
        yield [*parts, last[oxford.end() :]], True
        return
    ors = re.split(r"\s+or\s+", last)
    if len(ors) > 1:
        if len(ors) == 2 or not parts:
            yield [*parts, *ors], True
            if style.commas and parts:
                yield [*parts, last], False
            return
        for cut in range(1, len(ors)):
            yield [*parts, " or ".join(ors[:cut]), " or ".join(ors[cut:])], False
        return
    ands = re.split(r"\s+and\s+", last)
    is_split = style.last_and and len(ands) == 2 and not any(re.search(r"\sand\s", part) for part in parts)
    if is_split:
        yield [*parts, *ands], True
    if style.commas and parts:
        yield [*parts, last], not is_split


def _is_sound(items: Sequence[str], style: ListStyle, in_capitals: bool) -> bool:
    if not 1 < len(items) <= MOST_LABELS or len(set(items)) < len(items):
        return False
    if all(_DATE.fullmatch(item) for item in items) and any(len(item) > 1 for item in items):
        return False
    if any(map(_PATTERN.fullmatch, items)) or _asks_for_more(items):
        return False
    if not style.any_first and any(map(_SOME_TEXT.fullmatch, items)):
        return False
    longest = MOST_WORDS_WIDE if style.wide else MOST_WORDS
    if any(not re.fullmatch(rf"{WORD}(?: {WORD}){{0,{longest - 1}}}", item) for item in items):
        return False
    if not in_capitals and all(map(_CAPITALS.fullmatch, items)):
        return True  # `AS IS or HEAT FIRST`, whatever the words
    if any(map(_MASKED_AND_MORE.match, items)) or _is_open_list(items, style):
        return False
    if not style.wide:
        return not any(
            (_FUNCTION_WORD.match(item) and not re.fullmatch("[A-Z]{2,}", item)) or _VALUE.match(item) for item in items
        )
    sizes = [len(item.split()) for item in items]
    if _are_of_sides(items):
        return True
    if any(_CLAUSE.search(item) for item in items) or sizes[-1] > max(sizes[:-1]) + MOST_WORDS:
        return False
    if re.search(r" for \d", items[-1]):
        return False
    if re.match(r"(?:for|in|on|at|by|from) the\b", items[-1]) and not any(map(_PREPOSITION.match, items[:-1])):
        return False  # a remark behind the list: `..., for the northern hemisphere`
    if not style.any_first and (_is_value_or_none(items) or any(re.match(r"an? \S", item) for item in items[1:])):
        return False  # `thanks or an apology`
    if style.any_first or f"not {items[0]}" in items:
        return True
    if re.match(r"(?:with|by)\b", items[-1], re.IGNORECASE) and not _PREPOSITION.match(items[0]):
        return False  # `with care or with love`
    if not _NO_FIRST.match(items[0]) or re.fullmatch("[A-Z]{2,}", items[0]):
        return True
    firsts = {item.split()[0].lower() for item in items}
    return firsts in ({"they"}, {"it"}) or (len(items) > 2 and all(map(_PREPOSITION.match, items)))


def _is_open_list(items: Sequence[str], style: ListStyle) -> bool:
    """Whether an item says that a list is not closed, or how to write.

    Behind words that leave no doubt, `only tell` is a label where another follows, and `no reason` one beside `reason`.
    """
    for number, item in enumerate(items):
        if not _OPEN_LIST.match(item):
            continue
        word, _, rest = item.lower().partition(" ")
        others = [other.lower() for other in (*items[:number], *items[number + 1 :])]
        is_said = word == "only" and (number < len(items) - 1 or any(other.startswith("only ") for other in others))
        is_negated = word == "no" and any(f"{other} ".startswith(f"{rest} ") for other in others)
        if not style.any_first or not (is_said or is_negated):
            return True
    return False


def _are_of_sides(items: Sequence[str]) -> bool:
    """Whether items are sides, and what stands for both or none: `the one who pays, the one who delivers or both`."""
    sides = [re.match(r"the ones? who \S", item, re.IGNORECASE) is not None for item in items]
    others = [item for item, is_side in zip(items, sides, strict=True) if not is_side]
    return sum(sides) > 1 and bool(others) and all(map(_NO_SIDE.match, others))


def _asks_for_more(items: Sequence[str]) -> bool:
    """Whether a list asks for something besides one of its items."""
    if any(map(_MORE_THAN_A_LABEL.fullmatch, items)):
        return True
    if _REMARK.fullmatch(items[-1]) and not any(map(_REMARK.fullmatch, items[:-1])):
        return True
    if len(items) == 2 and " " not in items[0] and re.search(r"\S of (?:the|this|an?)\b", items[1]):
        return True  # `name or age of the person`
    objects = {f"{item} {word}" for item in items for word in ("it", "them", "him", "her", "this", "that")}
    return not objects.isdisjoint(items)  # `correct, and correct it`


def _is_value_or_none(items: Sequence[str]) -> bool:
    """Whether a list is one word, not quoted, and what stands where its value is missing: `name or null`."""
    others = [item for item in items if not re.fullmatch(r"null|none", item, re.IGNORECASE)]
    return len(items) == 2 and len(others) == 1 and re.fullmatch(r"[^\W\uE000-\uF8FF]+", others[0]) is not None


def split_question(text: str) -> tuple[str, ...]:
    """The labels of `Is this remark good or bad?`: the first one has as many words as all the others have."""
    bare = re.sub(r"(\A\s*|,\s*(?:or\s+)?|\bor\s+)an?\s+", r"\1", text, flags=re.IGNORECASE)  # a plant or a vehicle
    reading = next(read_list(bare, ListStyle(wide=True, any_first=True)), None)
    if reading is None or not reading.is_sure:
        return ()
    first, *others = reading.items
    counts = {len(member.split()) for member in others}
    if len(counts) != 1 or any(_FUNCTION_WORD.match(member) or member.startswith("not ") for member in others):
        return ()
    words, size = first.split(), counts.pop()
    noun, label = words[:-size], words[-size:]
    if len(label) < size or size > MOST_WORDS or any(map(is_function_word, (*noun, label[0]))):
        return ()
    return (" ".join(label), *others)


def is_function_word(word: str) -> bool:
    """Whether a word begins no label, as `the` and `with` do not."""
    return _FUNCTION_WORD.match(f"{word} x") is not None
