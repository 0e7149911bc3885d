"""Rule: which closed sets of answers a text states, such as `Answer yes or no` or `Labels: spam, ham`.

A wrong set makes every answer wrong, while an answer without a set is merely free. So a list counts only after words
that announce answers, and only when its items are clear. Both are decided by patterns: each comes with a text that it
is for. `cloud_service.answer.contract` decides which of the sets a task means.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONGEST_LABEL = 40
LONGEST_READ = 4_000
"""Characters of a text that are searched. This bounds the time; a set is stated early in a description."""

LONGEST_LIST = 1_000

MOST_LABELS = 64
"""Items of a list; a longer list is not taken for a closed set."""

MOST_WORDS = 3
"""Words of one label that has no quotation marks."""

_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|`([^`\n]+)`|(?<!\w)'([^'\n]+)'(?!\w)")
_BULLETS = re.compile(r"(?<=[:?])[ ]*\n((?:[ ]*(?:[-*•]|\d+[.)]) [^\n]+(?:\n|$))+)")
_FIRST_MASK = 0xE000
"""Quotations are replaced by characters of the private use area, from this one on: their commas separate nothing."""

_SEVERAL = re.compile(
    r"\b(?:one or more|zero or more|all that apply|any that apply|all (?:the )?labels that|multiple|more than one label"
    r"|comma[- ]separated|separated by commas|as many|several (?:labels|tags|categories|classes))\b",
    re.IGNORECASE,
)
_GENERATES = re.compile(
    r"\b(?:rewrite|write (?:an?|the) |compose|draft|summari[sz]e|translate|paraphrase|generate|create|extract"
    r"|list (?:the|all))",
    re.IGNORECASE,
)
"""Such a task asks for new text. A list in its description is about that text, as in `Tone: warm, friendly`."""

_WORD = r"[\w+#&\uE000-\uF8FF-]{1,40}"
_SAY = r"(?:say|answer|reply|respond|return|write|output|print|give|use|mark(?: it)?)(?: with)?"
_ASKED = r"(?:\A|(?<=[.;:!?,] )|(?<=\n))is (?:this|that|the|it)\b"  # not: where is the ...
_END = r"\s*(?:$|(?=[.;!?\n)]))"
_KINDS = (
    r"(?:labels?|categor(?:y|ies)|class(?:es)?|options|tags?|values|answers|choices|box(?:es)?|bucket|group|kind|type"
    r"|list|sentiment|tone|opinion|mood|attitude|verdict|feeling|emotion|polarity|stance|topic|subject(?: area)?"
    r"|section|theme|language|register|field|domain|area|department|desk|team|queue|folder|intent|genre|level"
    r"|priority|urgency|severity|rating|length|kind of \w+)"
)


@dataclass(frozen=True, slots=True)
class _Intro:
    """Words that announce a list of answers.

    Attributes:
        words: Pattern of the words; the list begins where it ends.
        commas: Whether the list needs no `or` before its last item.
        last_and: Whether an `and` may stand before the last item.
        followed: Whether the sentence must go on after the list.
        asking: Whether the sentence must be a question.
        plain: Whether the list counts without an example that confirms it.
    """

    words: str
    commas: bool = False
    last_and: bool = False
    followed: bool = False
    asking: bool = False
    plain: bool = True


_SETS = "labels|categories|classes|options|tags|values|answers|choices|boxes|intents"
_INTROS = [
    (re.compile(intro.words, re.IGNORECASE), intro)
    for intro in (
        # "Labels: spam, ham"
        _Intro(rf"\b(?:{_SETS})(?: (?:are|is)\b:?| ?[:=])\s*", commas=True, last_and=True),
        # "exactly one of these words: red, green and blue"
        _Intro(r"\b(?:exactly |any )?one of(?: these| the following| the)?(?: \w+)?:?\s+", commas=True, last_and=True),
        # "Answer only with yes or no"
        _Intro(
            r"\b(?:say|answer|reply|respond|return|write|output)(?: only| just)?(?: with)?"
            r"(?: only| just| exactly| either)?\s+"
        ),
        # "Reply in one word: yes or no"
        _Intro(r"\b(?:answer|reply|respond)\b[^.;:\n]{0,40}:\s+"),
        # "The category must be either news or sport"
        _Intro(rf"\b(?:your|the) (?:{_KINDS}|answer|reply|output) (?:is|must be|should be|can be)(?: either)?\s+"),
        # "Choose between red and blue"
        _Intro(
            r"\b(?:choos\w+|choice|select\w*|pick\w*|decid\w+|distinguish\w*)\s+(?:among|between)\s+",
            commas=True,
            last_and=True,
        ),
        # "Which team should read it: sales, support"
        _Intro(rf"\bwhich {_KINDS} [^,.;:?\n]{{1,40}}[,:]\s+", commas=True),
        # "Classify each review as good or bad"
        _Intro(
            r"\b(?:classify|label|tag|mark|sort|put|flag|rate|categorize|divide|describe|marked|labelled|tagged|rated)\b"
            r"[^,.;:?\n]{0,60}?,?\s(?:as|into|with)\s+"
        ),
        # "the sentiment of the text: positive, negative"
        _Intro(rf"\b{_KINDS}\b[^.;:?\n]{{0,40}}:\s*", commas=True),
        # "from the following list: a, b"
        _Intro(r"\b(?:this|following) list:\s*", commas=True),
        # "Decide whether the mail is spam or ham"
        _Intro(r"\b(?:whether|if) (?:it|this|that|(?:the|this|each|a|an|every) [\w ]{1,30}?) is\s+"),
        # "Would you say the review is good or bad?"
        _Intro(r"\bwould you (?:say|call) (?:(?:it|this|that) is|(?:the|this) [\w ]{1,30}? is)\s+", asking=True),
        # "How does the author feel, as good or bad?"
        _Intro(r",\s+as\s+(?=[^.\n]*\?)"),
        # "What is the topic? news, sport", "Is it about food? yes/no"
        _Intro(
            rf"(?:^|[.;:\n])\s*(?=[^.;:?\n]{{0,100}}\b(?:{_KINDS}|which of these)\b|[^?\n]{{1,80}}\?\s*{_WORD}/)"
            r"[^.;:\n]{1,100}\?\s+",
            commas=True,
        ),
        # "Give the topic of the text (news, sport)"
        _Intro(rf"\b{_KINDS}\b[^.;:?()\n]{{0,40}}\(", commas=True),
        # "Say whether the text is about food (yes or no)"
        _Intro(r"\b(?:whether|if|is it|question)\b[^.;?()\n]*\("),
        # "Is this remark good or bad?"
        _Intro(_ASKED, asking=True),
        # "Which of red, green or blue fits the text?"
        _Intro(r"\bwhich of ", followed=True, commas=True),
        # "From red, green, blue, pick the best"
        _Intro(r"\bfrom ", followed=True, commas=True),
        # "Use good and bad as labels"
        _Intro(r"\buse ", followed=True, commas=True, last_and=True),
        # "Good or bad?"
        _Intro(r"\A(?=[^/\n]+\?)", asking=True, plain=False),
        # "good/bad", and nothing else
        _Intro(r"\A(?=[^ \n]+/[^ \n]+$)"),
    )
]
_CUT = re.compile(
    r"(?:,?\s+(?:depending|according|based|after|before|so that|as (?:classes|labels|categories|tags|options)"
    r"|appl(?:y|ies)|fits?|describes?|nothing else|and nothing|without|but|only|(?:to|for) (?:every|each|the|a)"
    r"|if|when|in (?:the|each|lower|upper))\b"
    r"|,\s*(?:pick|choose|select|take|find|give|say|and (?:pick|choose|find|give))\b"
    r"|\s(?-i:Write|Use|Answer|Say|Reply|If|When)\s|\s\S+ (?:means|stands for|is for|=)\s).*",
    re.IGNORECASE | re.DOTALL,
)
_NO_LABEL = re.compile(
    r"(?:an?|the|in|with|by|to|for|at|on|of|if|when|about|from|its?|your|that|this|one|only|exactly|either|each|any|all"
    r"|as|how|what|which|word|and|or|you|me|is|are|was|does|do|did|can|could|should|would|will|has|have)\b(?=.)"
    r"|(?:it|its|the|not|word for word|nothing|so|he|she|his|her|them|they)$",
    re.IGNORECASE,
)
_DATE = re.compile(r"d{1,2}|m{1,3}|y{2,4}|h{1,2}|s{1,2}", re.IGNORECASE)
_POLAR = (
    ("yes", "no"), ("true", "false"), ("y", "n"), ("1", "0"), ("t", "f"), ("ok", "skip"), ("pass", "fail"),
    ("accept", "reject"), ("+", "-"), ("positive", "negative"), ("spam", "ham"), ("good", "bad"), ("on", "off"),
)  # fmt: skip
_REST = (
    r"(?:(?:any|every)thing else|all (?:the )?others?|(?:the )?others|(?:all )?the rest|whatever else|more|otherwise"
    r"|else)"
)
_CASE = rf"(?:{_SAY} )?({_WORD}) (?:if|when|for|to|where) [^,;.\n]{{1,120}}?"
_NOT_SO = rf"(?:otherwise|else|if not|(?:when|if) (?:it|there) is (?:not|none)|(?:to|for) {_REST})"
_PAIRS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_CASE}[,;]? (?:and |but )?(?:otherwise|else|in all other cases)[,:]? (?:{_SAY} )?({_WORD}){_END}",
        rf"{_CASE}[,;]? (?:and |but )?(?:{_SAY} )?({_WORD}) {_NOT_SO}{_END}",
        rf"\b{_SAY} ({_WORD}) (?:to|for|if|when) [^.;\n]{{1,120}}[.;]\s*{_SAY} ({_WORD}) (?:to|for) {_REST}{_END}",
        rf"\b{_SAY} ({_WORD}) if [^.;,\n]{{1,120}}?,? (?:and|or) ({_WORD}) if [^.;\n]{{1,120}}{_END}",
        rf"\bif [^.;,\n]{{1,120}}, {_SAY} ({_WORD})[,;] (?:and )?(?:otherwise|else)[,:]? (?:{_SAY} )?({_WORD}){_END}",
        rf"\bmark it ({_WORD}); mark the rest ({_WORD}){_END}",
        rf"(?:^|[:;.,]\s*)({_WORD}) = ([^,;.=\n]{{1,120}}), ({_WORD}) = not \2{_END}",
    )
]
_WHEN = rf"{_WORD} (?:for|if|when) [^,;.\n]{{1,120}}, "
_CHAINS = [
    # A for ..., B for ..., else C
    (
        rf"(?:^|[.;:?\n]\s*|\b{_SAY} )((?:{_WHEN}){{1,20}})(?:otherwise|else) ({_WORD}){_END}",
        rf"(?:^|, )({_WORD}) (?:for|if|when) ",
    ),
    (
        rf"(?:^|[.;:?\n]\s*|\b{_SAY} )((?:{_WHEN}){{1,20}})({_WORD}) (?:in between|otherwise){_END}",
        rf"(?:^|, )({_WORD}) (?:for|if|when) ",
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


@dataclass(frozen=True, slots=True)
class StatedSet:
    """A closed set that a text states: at least two members, all different.

    Attributes:
        members: The answers.
        is_plain: Whether the text leaves no doubt; else an example has to confirm the set.
    """

    members: tuple[str, ...]
    is_plain: bool


def stated_sets(text: str) -> Iterator[StatedSet]:
    """Closed sets that a text states; those of the surest patterns come first."""
    text = text[:LONGEST_READ]
    if _SEVERAL.search(text) or _GENERATES.search(text):
        return
    masked, quotations = _mask(_BULLETS.sub(_in_a_line, text))
    for members, is_plain in _candidates(masked):
        found = tuple(_unmask(member, quotations) for member in members)
        if len(found) == len(set(found)) and all(0 < len(member) <= LONGEST_LABEL for member in found):
            yield StatedSet(found, is_plain)


def _mask(text: str) -> tuple[str, list[str]]:
    quotations: list[str] = []

    def replace(match: re.Match[str]) -> str:
        quotations.append(next(group for group in match.groups() if group is not None).strip())
        return chr(_FIRST_MASK + len(quotations) - 1)

    return _QUOTED.sub(replace, text), quotations


def _in_a_line(match: re.Match[str]) -> str:
    """A list of bullets as a list with commas, without what explains a bullet after a colon or a dash."""
    bullets = [re.sub(r"^\s*(?:[-*•]|\d+[.)]) ", "", bullet) for bullet in match[1].splitlines()]
    items = [re.split(r":|\s[-–—]\s|\s\(", bullet, maxsplit=1)[0].strip(" .;,") for bullet in bullets]
    return match[0] if any("," in item for item in items) else f" {', '.join(items)}.\n"


def _unmask(member: str, quotations: Sequence[str]) -> str:
    return re.sub(r"[\uE000-\uF8FF]", lambda m: quotations[ord(m[0]) - _FIRST_MASK], member)


def _candidates(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    for members in _conditional(text):
        yield members, True
    for words, intro in _INTROS:
        for match in words.finditer(text):
            if members := _list_after(text, match, intro):
                yield members, intro.plain or _is_polar(members) or all(_named_again(name, text) for name in members)


def _conditional(text: str) -> Iterator[tuple[str, ...]]:
    """`Answer A if ..., otherwise B` and its like."""
    for whole, part in _CHAINS:
        for match in re.finditer(whole, text, re.IGNORECASE):
            members = (*re.findall(part, match[1], re.IGNORECASE), match[2])
            if len(members) > 2 or _is_pair(members, text):
                yield members
    for pattern in _PAIRS:
        for match in pattern.finditer(text):
            members = (match[1], match[match.lastindex or 2])
            if _is_pair(members, text):
                yield members


def _is_pair(members: Sequence[str], text: str) -> bool:
    """Whether two words are a pair like yes and no, or the text asks for each of them as an answer."""
    return _is_polar(members) or all(
        not _NO_LABEL.match(member)
        and member.lower() not in ("none", "null", "unknown", "empty", "nothing")
        and re.search(rf"\b{_SAY} {re.escape(member)}(?!\w)|(?:otherwise|else) {re.escape(member)}(?!\w)", text, re.I)
        for member in members
    )


def _named_again(member: str, text: str) -> bool:
    return len(re.findall(rf"(?<!\w){re.escape(member)}(?!\w)", text)) > 1


def _is_polar(members: Sequence[str]) -> bool:
    return tuple(member.lower() for member in members) in _POLAR + tuple(pair[::-1] for pair in _POLAR)


def _list_after(text: str, match: re.Match[str], intro: _Intro) -> tuple[str, ...]:
    # The list ends with its sentence, or at the bracket that closes it. Remarks in brackets are no part of it.
    rest = text[match.end() : match.end() + LONGEST_LIST]
    rest = rest.split(")")[0] if match[0].endswith("(") else re.sub(r"\s*\([^()]*\)", "", rest)
    sentence = re.split(r"[.;!?:](?=\s|$)|\n|\s*->", rest, maxsplit=1)[0]
    end = rest[len(sentence) :].lstrip()[:1]
    if (intro.asking and end != "?") or (intro.followed and not _CUT.search(sentence)):
        return ()
    if match.re.pattern == _ASKED:
        return _of_question(sentence)
    members = split_list(sentence, and_too=intro.last_and, commas_too=intro.commas)
    if members and end in (":", "-"):
        # `a, b, c c: ...`: the second c begins an explanation, so it is no part of the list.
        *words, begun = members[-1].split()
        members = (*members[:-1], " ".join(words))
        return members if words and begun in members else ()
    return members


def _of_question(text: str) -> tuple[str, ...]:
    """`Is this remark good or bad?`: the first label has as many words as all the others have."""
    bare = re.sub(r"(\A\s*|,\s*(?:or\s+)?|\bor\s+)an?\s+", r"\1", text, flags=re.IGNORECASE)  # a plant or a vehicle
    members = split_list(bare, and_too=False, commas_too=False, longest=MOST_WORDS + 3)
    counts = {len(member.split()) for member in members[1:]}
    if len(counts) != 1 or any(member.startswith("not ") for member in members):
        return ()
    words = members[0].split()
    size = counts.pop()
    noun, label = words[:-size], words[-size:]
    if len(label) < size or any(_NO_LABEL.match(f"{word} x") for word in noun):
        return ()
    return (" ".join(label), *members[1:])


def split_list(text: str, *, and_too: bool, commas_too: bool, longest: int = MOST_WORDS) -> tuple[str, ...]:
    """The items of a list; empty when it is not clear what they are.

    Args:
        text: The list, with the rest of its sentence.
        and_too: Whether `and` may stand before the last item; `or` always may.
        commas_too: Whether commas alone make a list.
        longest: Most words of one item.
    """
    text = _CUT.sub("", text).strip()
    if "/" in text or "|" in text:
        parts = [part.strip() for part in re.split(r"[/|]", text)]
        if not any(re.search(r",|\bor\b|\band\b", part, re.IGNORECASE) for part in parts):
            return _valid(parts, 2)
        return ()
    *parts, last = re.split(r"\s*,\s*", text)
    oxford = re.match(r"(?:or|and)\s+", last, re.IGNORECASE)
    if oxford and parts:
        return _valid([*parts, last[oxford.end() :]], longest)
    ors = re.split(r"\s+or\s+", last)
    if len(ors) > 2 and parts:
        return ()
    if len(ors) > 1:
        return _valid([*parts, *ors], longest)
    ands = re.split(r"\s+and\s+", last)
    if and_too and len(ands) == 2 and not any(re.search(r"\sand\s", part) for part in parts):
        return _valid([*parts, *ands], longest)
    return _valid([*parts, last], longest) if commas_too else ()


def _valid(items: Sequence[str], longest: int) -> tuple[str, ...]:
    items = [item.strip(" *") for item in items]
    sound = all(
        re.fullmatch(rf"{_WORD}(?: {_WORD}){{0,{longest - 1}}}", item) and not _NO_LABEL.match(item) for item in items
    ) and not (all(_DATE.fullmatch(item) for item in items) and any(len(item) > 1 for item in items))
    return tuple(items) if sound and 1 < len(items) <= MOST_LABELS else ()
