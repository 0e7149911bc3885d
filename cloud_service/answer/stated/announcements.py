"""Rule: which words announce a list of answers: `Labels:`, `Choose from`, `Answer with`, and their like.

Each pattern comes with a text that it is for. A plain announcement takes labels of many words; a vague one, such as
`the mood: `, short ones only. `cloud_service.answer.stated.choice_lists` decides what the items are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from cloud_service.answer.stated.answer_words import ANSWER_VERBS, MOST_MATCHES
from cloud_service.answer.stated.choice_lists import (
    WORD,
    ListStyle,
    Reading,
    first_sentence,
    read_list,
    split_question,
    until_preposition,
    without_capital,
)
from cloud_service.answer.stated.opposites import is_polar

_SETS = (
    "labels|categories|classes|options|tags|values|answers|choices|boxes|intents|verdicts|outputs|responses|statuses"
)
_KINDS = (
    r"(?:labels?|categor(?:y|ies)|class(?:es)?|options|tags?|values|answers|choices|box(?:es)?|bucket|group|kind|type"
    r"|sentiment|tone|opinion|mood|attitude|verdict|feeling|emotion|polarity|stance|topic|subject(?: area)?"
    r"|section|theme|language|register|field|domain|area|department|desk|team|queue|folder|intent|genre|level"
    r"|priority|urgency|severity|rating|length|season|era|status|kind of \w+|letter|emoji|symbol)"
)
_SAY = rf"(?:{ANSWER_VERBS})"
_BEGIN = (
    r"(?:\A|(?<=[.;:!?,)\]—–-] )|(?<=[\n(])"
    r"|(?<=\band )|(?<=\bthen )|(?<=\bplease )|(?<=\bto )|(?<=\bmust )|(?<=\bshould )|(?<=\bonly )|(?<=\balways )"
    r"|(?<=\s)(?-i:(?=[A-Z][a-z]))|(?<=\bmay )|(?<=\bshall )|(?<=\bjust )|(?<=\bever )"
    r"|(?<=\bsimply )|(?<=\bwill )|(?<=\bcan ))"
    r"(?<!not to )(?<!never )(?<!not )"
)
"""Where a command may begin: not within another clause, as in `what people say or do`."""

_HOW = r"(?:\s+(?:only|just|exactly|either|simply|always|back|in lower ?case|in capitals))?"
_WITH = rf"{_HOW}(?:\s+(?:with|using|by){_HOW})?"
_OF_WORDS = (
    r"(?: (?:these|the|those)\b)?(?: (?:following|given|two|three|four|five|six))?"
    r"(?: (?:possible |allowed |valid )?(?:words|letters|strings|groups|kinds|types|bins|teams|departments|topics"
    rf"|sections|folders|levels|{_SETS}))?"
)
_LIST = r"(?!\w)\s*[:\n]?\s*"
_WHAT = (
    r"(?: (?:exactly|only|just))?"
    rf"(?: (?:one|an?|the)?(?: (?:single|best|right|correct|closest|most fitting|matching|fitting))*"
    rf"(?: (?:one|match|answer|option|label|word|{_KINDS}))?)?"
)

_PLACE = r"(?:about|in|on|at|from|by|near|under|over|before|after)"
_NO_FORM = (
    r"(?!(?-i:[A-Z])"
    r"|(?:\w+ )?(?:words?|figures|numbers?|digits|letters|sentences?|phrases?|hours|minutes|short|full)\b)"
)
"""Begins no label that is a place: `in English` and `in a word` say how to write."""

_PERSON = r"(?:them|us|you|me|mine|yours|ours|theirs|my|your|our|their|his|hers?|its)"
"""Behind `one of`, these words begin no list: `one of us`, `one of your tips`."""

_ASKED = r"(?:\A|(?<=[.;:!?,] )|(?<=\n))is (?:this|that|the|it)\b"  # not: where is the ...

_OR = ListStyle()
_COMMAS = ListStyle(commas=True)
_ANY_LAST = ListStyle(commas=True, last_and=True)
_WIDE_OR = ListStyle(wide=True)
_WIDE = ListStyle(commas=True, last_and=True, wide=True, any_first=True)


@dataclass(frozen=True, slots=True)
class _Announcement:
    """Words that announce a list of answers.

    Attributes:
        words: Pattern of the words; the list begins where it ends.
        style: How the list may look.
        followed: Whether the sentence must go on after the list.
        asking: Whether the sentence must be a question.
        plain: Whether the list counts without an example that confirms it.
        until_preposition: Whether a phrase behind the last label is none of it: `open or closed on Sundays`.
    """

    words: str
    style: ListStyle = _OR
    followed: bool = False
    asking: bool = False
    plain: bool = True
    until_preposition: bool = False


_ANNOUNCEMENTS = [
    (re.compile(each.words, re.IGNORECASE), each)
    for each in (
        # "Labels: spam, ham"
        _Announcement(rf"\b(?:{_SETS})(?: are\b:?| ?[:=]| [-–—])\s*", _WIDE),
        # "Allowed: noun, verb", "Teams: frontend, backend"
        _Announcement(
            r"(?:\A|(?<=[.;?!] )|(?<=\n))(?:allowed|valid|possible|teams|departments|topics|genres|levels|queues|moods"
            r"|emotions|sentiments|ratings):\s+",
            _COMMAS,
        ),
        # "Output: yes or no"
        _Announcement(r"\b(?:output|return|result):\s+(?=[^/|,\n]{1,30} or [^/|,.\n]{1,30}(?:[.\n]|\Z))", _WIDE_OR),
        # "Determine the gender of the noun: der, die or das"
        _Announcement(
            rf"{_BEGIN}(?:categori[sz]e|classify|determine|detect|identify|judge|grade) [^.;:?\n]{{1,50}}:\s+",
            ListStyle(wide=True, any_first=True),
        ),
        # "Reply with one of: has an error, correct", "the subject, one of sport, art"
        _Announcement(
            rf"(?:{_BEGIN}(?:{_SAY}|use|give|assign){_WITH}\s+|{_BEGIN}|\b(?:be|is|as|with|into|from|to)\s+"
            rf"|\b(?:assign|use|exactly|only|out|always|any)\s+)"
            rf"(?:exactly |any |only |just )?one (?:label |option |tag )?(?:out )?of(?! {_PERSON}\b){_OF_WORDS}{_LIST}",
            _WIDE,
        ),
        # "Choose from subjective, objective", "Select the best match from [sport, art]"
        _Announcement(
            rf"{_BEGIN}(?:choose|pick|select|take|decide){_WHAT} (?:from|among|out of|of)"
            rf"(?: (?:this|the following|the) list)?{_OF_WORDS}(?!\s+(?:the|it|this|that|an?|{_PERSON})\b){_LIST}",
            _WIDE,
        ),
        # "Pick one: bigger, not bigger"
        _Announcement(
            rf"{_BEGIN}(?:choose|pick|select|assign|decide)(?: (?:exactly|only|just))? "
            rf"(?:one|an?|the)(?: (?:one|option|label|answer|word|tag|{_KINDS}))?"
            r"(?! (?:random )?(?:word|sentence|phrase|title|name)\b)(?: [\w ]{1,40})?(?::| [-–—])\s+",
            _WIDE,
        ),
        # "Use the tags can wait, soon, urgent", "Answer using only the words past, present"
        _Announcement(
            rf"{_BEGIN}(?:use|assign)(?: only)?(?: one of)? (?:the|these|those)(?: following)? (?:{_SETS})"
            rf"(?!\s+(?:from|of|in|that|which|you)\b){_LIST}",
            _WIDE,
        ),
        _Announcement(
            rf"{_BEGIN}{_SAY} (?:using|with)(?: only)? (?:the|these) (?:words|letters)"
            rf"(?!\s+(?:that|which|you|from|of|in)\b){_LIST}",
            _WIDE,
        ),
        # "one word: past, present or future", "Reply with a single letter (A, B or C)"
        _Announcement(
            r"\b(?:one|single) (?:word|letter|label|digit|number|category|class|tag)(?: only)?"
            r"(?: for [\w ]{1,30}| \w+)?(?:[:,]| ?[—–-]) (?!(?:the|its?|an?|your) )",
            ListStyle(wide=True, any_first=True),
        ),
        _Announcement(
            r"\b(?:one|single) (?:word|letter|label|digit|number|category|class|tag)(?: only)?[:,]? (?=\()", _WIDE
        ),
        _Announcement(r"\b(?:letter|digit|number)(?: only)?: ", _COMMAS),
        # "Answer only with yes or no", "Write only just read or answer"
        _Announcement(
            rf"{_BEGIN}{_SAY}{_WITH}(?:\s+an? (?:simple|plain|clear|single))?"
            rf"(?: (?:the )?(?:label|word|letter|tag|single word)\b)?\s+(?!questions\b|requests\b|calls\b|mails?\b)",
            _WIDE_OR,
        ),
        # "Answer with about food or about something else", "Where is it? Your answer is in a house or in the open air"
        _Announcement(
            rf"{_BEGIN}{_SAY}{_HOW} with (?={_PLACE} (?!\d)[^,.;:\n]{{1,60}} or {_PLACE} )",
            ListStyle(wide=True, any_first=True),
        ),
        _Announcement(
            r"\bwhere\b[^\n]{1,200}?[. ](?:your|the) answer is "
            rf"(?={_PLACE} {_NO_FORM}[^,.;:\n]{{1,60}} or {_PLACE} {_NO_FORM})",
            ListStyle(wide=True, any_first=True),
        ),
        _Announcement(rf"{_BEGIN}(?:predict|use the (?:label|tag|word)|(?:set|change) the {_KINDS} to)\s+", _WIDE_OR),
        # "Reply in one word: yes or no"
        _Announcement(rf"{_BEGIN}(?:{_SAY}\b[^.;:\n]{{1,40}}|answer|reply|respond):\s+", _WIDE_OR),
        _Announcement(rf"{_BEGIN}{_SAY}{_HOW} with:\s+", _COMMAS),
        # "The category must be either news or sport"
        _Announcement(
            rf"\b(?:(?:your|the|each) (?:{_KINDS}|answer|reply|output|response)|{_KINDS})"
            r" (?:is|(?:must|should|can|may|will)(?: only)? be|has to be|needs to be)"
            r"(?: (?:either|always|one of:?|only))?\s+"
            r"(?!(?:friendly|polite|brief|concise|clear|simple)\b)",
            _WIDE_OR,
        ),
        # "Choose between red and blue"
        _Announcement(
            r"\b(?:choos\w+|choice|select\w*|pick\w*|decid\w+|distinguish\w*)\s+(?:among|between)\s+",
            _ANY_LAST,
        ),
        # "Decide: refund or replacement?"
        _Announcement(r"\b(?:decide|classify|predict|score|which one(?: is it)?): ", _OR),
        _Announcement(
            r"\b(?:classify|predict|label|tag|rate|score|grade) (?:the|this|each|every|an?) [\w ]{1,30}: ",
            _COMMAS,
        ),
        # "Decide if the premise supports the claim: yes, no or not sure"
        _Announcement(r"\b(?:decide|say|tell|judge|determine) (?:if|whether) [^.;:?\n]{1,80}:\s+", _WIDE_OR),
        # "Which team should read it: sales, support"
        _Announcement(rf"\bwhich (?:of (?:these|the) )?{_KINDS} [^,.;:?()\n]{{1,40}}[,:]\s+", _COMMAS),
        # "Classify each review as good or bad"
        _Announcement(
            r"\b(?:classify|label|tag|mark|sort|flag|rate|categorize|divide|describe|marked|labelled|tagged|rated|map"
            r"|put(?! (?:the|this|each|every|all) (?:text|verb|word|sentence|noun|phrase|number|date|code|name)s?\b))\b"
            r"[^,.;:?\n]{0,60}?,?\s(?:as|into|with)\s+"
        ),
        # 'Label every sentence "subjective" or "objective"'
        _Announcement(r"\b(?:label|tag|mark|flag|call) (?:each|every|the|this|an?) [\w ]{1,30}? (?=[\uE000-\uF8FF])"),
        # "the sentiment of the text: positive, negative"
        _Announcement(rf"\b{_KINDS}\b[^.;:?\n]{{0,40}}:\s+", _COMMAS),
        # "from the following list: a, b"
        _Announcement(r"\b(?:this|following) list:\s*", _WIDE),
        # "Decide whether the mail is spam or ham"
        _Announcement(
            r"\b(?:whether|if) (?:it|this|that|(?:the|this|each|a|an|every) [\w ]{1,30}?) is\s+",
            until_preposition=True,
        ),
        # "Would you say the review is good or bad?"
        _Announcement(r"\bwould you (?:say|call) (?:(?:it|this|that) is|(?:the|this) [\w ]{1,30}? is)\s+", asking=True),
        # "How does the author feel, as good or bad?"
        _Announcement(r",\s+as\s+(?=[^.\n]*\?)"),
        # "What is the topic? news, sport", "Is it about food? yes/no"
        _Announcement(
            rf"(?:^|[.;:\n])\s*(?=[^.;:?\n]{{0,100}}\b(?:{_KINDS}|which of these)\b|[^?\n]{{1,80}}\?\s*{WORD} ?/)"
            r"[^.;:\n]{1,100}\?\s+",
            _COMMAS,
        ),
        # "Give the topic of the text (news, sport)"
        _Announcement(rf"\b{_KINDS}\b[^.;:?()\n]{{0,40}}(?=\()", _COMMAS),
        # "Say whether the text is about food (yes or no)"
        _Announcement(r"\b(?:whether|if|is it|is the \w+|question)\b[^.;()\n]{0,80}(?=\()"),
        # "Which continent is it on? Africa, Asia or Europe"
        _Announcement(r"(?:\A|(?<=[.;:] )|(?<=\n))which [\w-]+ [^.;:?\n]{1,80}\?\s+(?=[^.?\n]{3,100}[,/])"),
        # "Is this remark good or bad?"
        _Announcement(_ASKED, asking=True),
        # "Which of red, green or blue fits the text?"
        _Announcement(r"\bwhich of ", _COMMAS, followed=True),
        # "From red, green, blue, pick the best"
        _Announcement(r"\bfrom ", _COMMAS, followed=True),
        # "Use good and bad as labels"
        _Announcement(r"\buse ", _ANY_LAST, followed=True),
        # "Good or bad?", "Yes or no?"
        _Announcement(r"(?:\A|(?<=[.?!] )|(?<=\n))(?=[^/.?\n]{1,200}\?)", plain=False),
        # "Answer in earnest or funny"
        _Announcement(rf"{_BEGIN}{_SAY}{_WITH}\s+", ListStyle(wide=True, any_first=True), plain=False),
        # "good/bad", and nothing else
        _Announcement(r"\A(?=[^ \n]+/[^ \n]+$)"),
    )
]
_FORMAT_BEGIN = re.compile(
    r"\s*(?:(?:only|just|either|exactly|simply)\s+"
    r"|(?:an? |one |the )?(?:single )?(?:label|word|answer|category|class|tag)(?:\s*[:,—–-]\s+| (?=\()))?",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"about (?!\d)[^,]{1,40} or about ", re.IGNORECASE)
"""Begins labels in an output format; there, `in English or in German` says how to write."""

_GOES_ON = re.compile(
    r",\s*(?:and )?(?:pick|choose|select|take|find|give|say)\b"
    r"|\b(?:as (?:classes|labels|categories|tags|options)|(?:best )?fits?|appl(?:y|ies)|describes?|suits?)\b",
    re.IGNORECASE,
)


def announced_sets(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The lists that a text announces, each with whether it is plain; those of the surest words come first."""
    for words, announcement in _ANNOUNCEMENTS:
        for match in islice(words.finditer(text), MOST_MATCHES):
            for reading in _lists_after(text, match, announcement):
                members = without_capital(reading.items) if match.end() == match.start() else reading.items
                plain = announcement.plain or is_polar(members) or all(_named_again(name, text) for name in members)
                yield members, plain and reading.is_sure


def sets_of_format(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The lists that an output format is, if it is nothing else; one with commas alone is unsure."""
    begin = _FORMAT_BEGIN.match(text)
    rest = text[begin.end() if begin else 0 :]
    sentence, _ = first_sentence(rest)
    for style in (
        ListStyle(wide=True, any_first=_ABOUT.match(sentence) is not None),
        ListStyle(commas=True, wide=True, any_first=True),
    ):
        for reading in read_list(sentence, style):
            yield reading.items, reading.is_sure and not style.commas


def _named_again(member: str, text: str) -> bool:
    return len(re.findall(rf"(?<!\w){re.escape(member)}(?!\w)", text)) > 1


def _lists_after(text: str, match: re.Match[str], announcement: _Announcement) -> Iterator[Reading]:
    sentence, end = first_sentence(text[match.end() : match.end() + 1_100])
    if (announcement.asking and end != "?") or (announcement.followed and not _GOES_ON.search(sentence)):
        return
    if announcement.words == _ASKED:
        if members := split_question(sentence):
            yield Reading(members)
        return
    if announcement.until_preposition:
        sentence = until_preposition(sentence)
    for reading in read_list(sentence, announcement.style):
        if end in (":", "-") and end:
            # `a, b, c c: ...`: the second c begins an explanation, so it is no part of the list.
            *words, begun = reading.items[-1].split()
            if words and begun in (*reading.items[:-1], " ".join(words)):
                yield Reading((*reading.items[:-1], " ".join(words)), reading.is_sure)
            elif is_polar(reading.items):  # `Answer yes or no: is it late?`
                yield reading
        else:
            yield reading
