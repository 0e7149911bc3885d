"""Rule: closed sets whose labels a text explains one by one: in sentences, lines, a table, or behind names in brackets.

Such a list says nothing of answers: it may explain abbreviations, fields, or rules. So it counts only in a text that
asks for one of its labels (`asks_for_label`) and for no other work.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from cloud_service.answer.stated.answer_words import NO_LABEL, SAY, WORD
from cloud_service.answer.stated.choice_lists import ListStyle, first_sentence, read_list
from cloud_service.answer.stated.quotations import MASK

MOST_LABELS = 64
LONGEST_NAME = 40
LONGEST_EXPLANATION = 160
MOST_WORDS = 5

_KIND = (
    r"(?:codes?|labels?|letters?|categor(?:y|ies)|class(?:es)?|tags?|words?|numbers?|digits?|figures?|signs?|symbols?"
    r"|emojis?|abbreviations?|types?|kinds?|levels?|priorit(?:y|ies)|grades?|marks?|ratings?|scores?|teams?|desks?"
    r"|departments?|queues?|folders?|shel(?:f|ves)|intents?|genres?|colou?rs?|groups?|sections?|status(?:es)?|options?"
    r"|topics?|moods?|sentiments?|stances?|verdicts?|bins?|box(?:es)?|buckets?|stages?|severit(?:y|ies)|offices?"
    r"|rooms?|units?|sorts?|forms?|states?|emotions?|tones?|roles?|channels?|domains?|zones?)"
)
_ASKS = re.compile(
    rf"\b(?:{SAY}|name|state|tell me|select|assign|decide on|respond with|find|determine|identify|set)\b"
    rf"[^.;:\n]{{0,40}}?\b(?:the|one|a|an|its|only|just|right|matching|exactly|single)\b(?: [\w-]+){{0,3}}? {_KIND}\b"
    rf"|\b{_KIND}(?:,? (?:only|alone|please|and nothing else)\b)"
    rf"|\b(?:only|just|one|single) (?:the |a |one )?(?:[\w-]+ )?{_KIND}\b"
    r"|(?:\A|[.:!?\n]\s*|\byou )(?:please )?(?:classify|categori[sz]e|label|tag|sort|grade|rate|assign|judge|code)\b"
    rf"|\bwhich (?:[\w-]+ )?(?:one|{_KIND})\b|\b(?:label|category|class|code|tag) is\b"
    r"|\bgets? (?:a|one) (?:mark|code|label|tag)\b"
    r"|\b(?:classify|categori[sz]e)\b",
    re.IGNORECASE,
)
_REWORKS = re.compile(
    r"(?:\A|[.;:!?\n]\s*|\b(?:and|then|please|must|should|to)\s+)(?:convert|expand|abbreviate|shorten|replace|transform"
    r"|turn|rewrite|translate|extract|correct|fix|copy|spell|add|remove|fill|list|format|change|summari[sz]e"
    r"|write (?:an?|the) (?:\w+ )?(?:text|story|poem|sentence|mail|e-mail|letter (?:to|of|for)|reply|summary|list"
    r"|report)\b"
    r"|put (?:the|it|each|every) (?:verbs?|sentences?|texts?|words?|phrases?|in)\b"
    r"|draft|compose|complete|follow|count|compute|calculate)\b|\bin (?:words|full)\b|\bthe meaning\b",
    re.IGNORECASE,
)
_FIELDS = re.compile(
    r"\b(?:fields?|keys?|columns?|json|xml|yaml|rules?|steps?|templates?|sections:|these lines|instructions?|format"
    r"|criteria|all (?:of )?the following|each of (?:the|these))\b",
    re.IGNORECASE,
)
_FIELD_NAMES = re.compile(
    r"(?:.* )?(?:names?|dates?|years?|titles?|city|country|address|amounts?|prices?|times?|ids?|email|e-mail|phone"
    r"|tone|length|audience|style|language|format|input|output|text|reason|explanation|example|quantity|age|price)",
    re.IGNORECASE,
)
_COMMANDS = re.compile(
    r"(?:keep|write|use|do|don't|no|never|always|start|begin|end|remove|add|make|avoid|be|ignore|put|give|return|answer"
    r"|copy|replace|convert|read|find|check|if|when|the|a|an|include|include|mention|say) \S",
    re.IGNORECASE,
)
_BULLET = r"(?:[-*•·–] ?|\(?(?:\d{1,2}|[a-zA-Z])[.)] )"
_LINE = re.compile(
    rf"[ ]*(?P<bullet>{_BULLET})?[ ]*(?P<name>[^\n:|]{{1,60}}?)[ ]*"
    r"(?:(?P<mark>:| [-–—=]+ |[ ]*(?:->|→|=>)[ ]*|\s(?=\())[ ]*(?P<said>[^\n]+))?[ ]*"
)
_MEANS = re.compile(
    rf"(?:\A|[.;:,!?\n]\s*(?:and |or |while |whereas )?|\s(?:and|or|while) )(?P<label>{WORD}) "
    r"(?P<verb>means?|(?:stands? )?for|denotes?"
    r"|represents?|indicates?|signifies|is for|is used for|marks|are for|is|are) (?=\S)",
    re.IGNORECASE,
)
_COLON = re.compile(rf"(?:\A|[.;:,!?\n]\s*(?:and )?)(?P<label>{WORD})(?P<verb>:| ?=) (?=\S)", re.IGNORECASE)
_CODE = re.compile(r"[A-Z0-9][A-Z0-9+_-]{0,11}|[\uE000-\uF8FF]|[a-zA-Z0-9]")
_BRACKET = re.compile(r"[\w'’-]+\s\((?P<code>[\w+=\uE000-\uF8FF-]{1,5})\)(?=\s*(?:,|;|[.?!:]|\s(?:or|and|vs)\b|\Z|\n))")
_ASKS_FOR_CODE = re.compile(
    r"\b(?:letters?|codes?|abbreviations?|signs?|symbols?|digits?|numbers?|initials?|in (?:the )?brackets"
    r"|in parentheses|characters?)\b",
    re.IGNORECASE,
)
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNTED = re.compile(
    rf"\b(?P<number>{'|'.join(_NUMBERS)}|\d) (?:[\w-]+ )?(?!sentences|words|lines)\w+s(?::| [-–—])\s+", re.I
)
_EITHER = re.compile(r"\bis (?:always )?either ([^.;:\n]{3,200})", re.IGNORECASE)
_EXAMPLE_HEADERS = re.compile(
    r"(?:input|text|example|sentence|message|column|field|key|parameter|from|before|question)", re.I
)


def asks_for_label(text: str) -> bool:
    """Whether a text asks for one of several labels, and for no text to be written or worked on."""
    return _ASKS.search(text) is not None and not is_reworked(text)


def is_reworked(text: str) -> bool:
    """Whether a text asks for its input to be worked on, as in `Convert units` or `Extract the name`."""
    return _REWORKS.search(text) is not None


def explained_sets(text: str) -> Iterator[tuple[str, ...]]:
    """The labels that a text explains in sentences and behind names in brackets; quotations are masked."""
    if not asks_for_label(text) or _FIELDS.search(text):
        return
    yield from _bracketed(text)
    yield from _counted(text)
    for pattern in (_MEANS, _COLON):
        yield from _in_sentences(text, pattern)


def listed_sets(text: str) -> Iterator[tuple[str, ...]]:
    """The labels that a text explains line by line, or in a table."""
    if not asks_for_label(text):
        return
    lines = text.split("\n")
    for block in _blocks(lines, lambda line: "|" in line):
        yield from _of_table(block)
    if not _FIELDS.search(text):
        for block in _blocks(lines, _is_item):
            yield from _of_lines(block)


def _blocks(lines: Sequence[str], belongs: Callable[[str], bool]) -> Iterator[list[str]]:
    """The runs of lines that belong together."""
    block: list[str] = []
    for line in (*lines, ""):
        if line.strip() and belongs(line):
            block.append(line)
            continue
        if 2 <= len(block) <= MOST_LABELS + 2:
            yield block
        block = []


def _is_item(line: str) -> bool:
    match = _LINE.fullmatch(line)
    return match is not None and (match["bullet"] is not None or match["mark"] is not None) and "|" not in line


def _of_lines(block: Sequence[str]) -> Iterator[tuple[str, ...]]:
    matches = [match for line in block if (match := _LINE.fullmatch(line))]
    said = [match["said"] is not None for match in matches]
    if len({match["bullet"] is None for match in matches}) > 1 or (any(said) and not all(said)):
        return
    if matches[0]["bullet"] is None and any(match["mark"].strip() == "(" for match in matches if match["mark"]):
        return
    names = tuple(match["name"].strip(" *\"'`.,;“”") for match in matches)
    if all(said) and re.search("[-=]>|→", matches[0]["mark"]):
        rights = [match["said"].strip(" *\"'`.,;") for match in matches]
        if sum(len(right.split()) for right in rights) < sum(len(name.split()) for name in names):
            names = tuple(dict.fromkeys(rights))
    if _are_labels(names) and (all(said) or not any(_COMMANDS.match(name) or len(name.split()) > 3 for name in names)):
        yield names


def _are_labels(names: Sequence[str]) -> bool:
    return (
        1 < len(names) == len(set(names)) <= MOST_LABELS
        and all(0 < len(name) <= LONGEST_NAME and len(name.split()) <= MOST_WORDS for name in names)
        and not any(_COMMANDS.match(name) or re.search(r"[?!]|\. ", name) for name in names)
        and sum(_FIELD_NAMES.fullmatch(name) is not None for name in names) * 2 < len(names)
    )


def _of_table(block: Sequence[str]) -> Iterator[tuple[str, ...]]:
    rows = [[cell.strip(" *`\"'") for cell in line.strip().strip("|").split("|")] for line in block]
    if len(rows) < 4 or not all(re.fullmatch(r":?-{2,}:?", cell) for cell in rows[1]):
        return
    header, names = rows[0], tuple(row[0] for row in rows[2:])
    if not _EXAMPLE_HEADERS.fullmatch(header[0]) and len(header) > 1 and _are_labels(names):
        yield names


def _bracketed(text: str) -> Iterator[tuple[str, ...]]:
    if not _ASKS_FOR_CODE.search(text):
        return
    for line in text.split("\n"):
        codes = tuple(match["code"] for match in islice(_BRACKET.finditer(line), MOST_LABELS))
        if 1 < len(codes) == len(set(codes)) == line.count("("):
            yield codes


def _counted(text: str) -> Iterator[tuple[str, ...]]:
    """The items of `It is about one of three things: ...` and of `It is either a ... or a ...`."""
    for match in islice(_COUNTED.finditer(text), MOST_LABELS):
        sentence, _ = first_sentence(text[match.end() :])
        for reading in read_list(sentence, ListStyle(commas=True, last_and=True, wide=True)):
            number = match["number"].lower()
            if any(re.search(r" (?:for|means|is|are|if|when|stands) ", item) for item in reading.items):
                continue  # explained, so that the label is a part of the item
            if len(reading.items) == (int(number) if number.isdigit() else _NUMBERS.index(number) + 2):
                yield reading.items
    for match in islice(_EITHER.finditer(text), MOST_LABELS):
        bare = re.sub(r"((?:\A|,|\bor)\s*)an?\s+(?=\S)", r"\1", match[1], flags=re.IGNORECASE)
        for reading in read_list(bare, ListStyle()):
            if reading.is_sure:
                yield reading.items


def _in_sentences(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, ...]]:
    run: list[re.Match[str]] = []
    for match in (*islice(pattern.finditer(text), MOST_LABELS), None):
        if match is not None and run and _verb(match) == _verb(run[-1]) and _is_near(run[-1], match):
            run.append(match)
            continue
        yield from _of_run(run)
        run = [] if match is None else [match]


def _is_near(one: re.Match[str], other: re.Match[str]) -> bool:
    between = one.string[one.end() : other.start()]
    return len(between) <= LONGEST_EXPLANATION and "\n\n" not in between


def _verb(match: re.Match[str]) -> str:
    """`means` and `mean` are one verb, and so are the three of `A stands for ..., B is for ..., C for ...`."""
    verb = match["verb"].lower()
    return "for" if verb.endswith("for") else verb.rstrip("s").strip()


def _of_run(run: Sequence[re.Match[str]]) -> Iterator[tuple[str, ...]]:
    labels = tuple(match["label"] for match in run)
    if len(labels) < 2 or len(set(labels)) < len(labels) or any(map(NO_LABEL.match, labels)):
        return
    if run[0]["verb"].lower() == "for":
        return  # the cases of `Say A for ..., B for ...`
    if any(MASK.match(match.string, match.end()) for match in run):
        return  # words with their translations
    if _verb(run[0]) in (":", "=", "i", "are") and not all(map(_CODE.fullmatch, labels)):
        return
    if _verb(run[0]) in ("i", "are") and any(map(MASK.match, labels)):
        return  # the words of a rule: `"changed" is the condition`
    yield labels
