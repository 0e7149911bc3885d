"""Rule: what a sentence says of one label, where it speaks of several: `P1 means danger, P2 means worry`.

A label's part is what follows it up to the next label (`A for agree`), what stands before it as a condition (`if it is
late, say B`), or the name in front of its brackets (`the opening (O)`).
"""

import re
from collections.abc import Sequence

from cloud_service.answer.stated.answer_words import ANSWER_VERBS

MOST_LABELS = 16
"""Labels of one sentence; a sentence that names more of them is a list."""

_CONNECTOR = re.compile(
    r"[\"'”»*`]*\s*(?:means?|stands? for|is for|is used for|denotes?|represents?|indicates?|signifies|marks|for|if|when"
    r"|whenever|where|to|is|are|=|:|\||->|→|[-–—](?= )|\((?=[^()]{2,}\)))\s*(?=\S)",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    rf"\b(?:if|when|whenever) ([^.;]{{3,}}?)[,:]? (?:then )?(?:{ANSWER_VERBS}|give|use)(?: with)? [\"'“`]?$",
    re.IGNORECASE,
)
_END = re.compile(
    rf"[\s,;.:()\"'“”«»`|*]*(?:\b(?:and|or|but|else|otherwise|{ANSWER_VERBS}|give|use|with"
    r"|it is)\b[\s,;.:\"'“”«»`]*)*$",
    re.IGNORECASE,
)
_LIST_END = re.compile(r"(?:\bor|/)\s*$", re.IGNORECASE)
_NAME = re.compile(r"((?:[\w'’-]+ ){0,4}[\w'’-]+)\s\($")
_ARTICLE = re.compile(r"^(?:.*\b(?:or|and|to|into|as|of|in|is|the|an?)\s)", re.IGNORECASE)


def meaning_within(sentence: str, label: str, labels: Sequence[str]) -> str:
    """What a sentence that names several labels says of one of them; empty where it only lists them."""
    places = sorted(
        (match.start(), match.end(), each)
        for each in labels
        for match in re.finditer(rf"(?<!\w){re.escape(each)}(?!\w)", sentence)
    )
    if len({each for _, _, each in places}) > MOST_LABELS:
        return ""
    for number, (begin, end, each) in enumerate(places):
        if each != label:
            continue
        before = sentence[places[number - 1][1] if number else 0 : begin]
        after = sentence[end : places[number + 1][0] if number + 1 < len(places) else len(sentence)]
        if (name := _NAME.search(before)) and after.startswith(")"):
            return _ARTICLE.sub("", name[1])
        connector = _CONNECTOR.match(after)
        if connector and not (connector[0].strip() == ":" and _LIST_END.search(before)):
            said = after[connector.end() :]
            said = said.partition(")")[0] if connector[0].endswith("(") else said
            if said := _END.sub("", said).strip():
                return said
        if (condition := _CONDITION.search(before)) and (said := _END.sub("", condition[1]).strip()):
            return said
    return ""
