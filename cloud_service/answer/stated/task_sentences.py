"""Rule: which sentence of a description asks for the answer, when no other sentence asks for anything."""

import re
from dataclasses import dataclass

MOST_SENTENCES = 40
LONGEST_SENTENCE = 300
"""A longer sentence is not read."""

_BEGIN = r"\A(?:please|then|and|also|now|next|finally|first|so|if so|if not|if yes|if there is)?,?\s*"
_OTHER_WORK = re.compile(
    rf"{_BEGIN}(?:give|write|rewrite|extract|translate|list|name|find|convert|turn|make|fix|correct|show|continue"
    r"|complete|fill|replace|remove|add|answer|reply|respond|return|output|print|say|tell|explain|describe"
    r"|summari[sz]e|compute|calculate|count|draft|compose|quote|copy|imagine|play|pretend|act|ask|use|guess|repeat"
    r"|shorten|simplify|expand|suggest|provide|justify|state|include|mention|create|generate|paraphrase|change|format"
    r"|highlight|underline|mark|point|help|solve|do|pick|select|choose|order|sort|rank|group|split)\b"
    r"|\A(?:if so|if not|if yes|if no|if there|then|otherwise|and|or|but)\b"
    r"|\bthen\b|\b(?:explain|because|reasons?|explanation|sentences?|paragraph|poem|story|game)\b(?= (?:why|with|for))",
    re.IGNORECASE,
)
_ONLY_FORM = re.compile(
    r"\A(?:please )?(?:say|tell (?:me|us)|state|answer|name|reply|write down|give) (?:with )?(?:which(?: one)?|the kind"
    r"|the one|it)\W*\Z"
    r"|\b(?:only|just|(?:one|single) (?:word|label|letter)|nothing (?:else|more)|(?:lower|upper)[ -]?case|without"
    r"|no (?:explanation|comment|punctuation|reason)|the (?:label|word|category|class|answer|team|department))",
    re.IGNORECASE,
)
"""Says how short an answer is."""

_LONG_FORM = re.compile(
    r"\b(?:sentences?|reasons?|paragraphs?|lists?|json|xml|csv|html|markdown|table|number|score|percent|lines|quote|name"
    r"|date|followed|plus|explain|why|and (?:a|an|the|your))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Request:
    """The sentence that asks for the answer.

    Attributes:
        text: Without the mark at its end.
        is_question: Whether that mark is a question mark.
        is_last: Whether no sentence follows.
        is_whole: Whether it is the whole description.
    """

    text: str
    is_question: bool
    is_last: bool
    is_whole: bool


def requests_of(text: str) -> list[Request]:
    """Each sentence that may ask for the answer, when all others only say what the input is or how to write.

    Sentences are those of at most `LONGEST_SENTENCE` characters in a text of at most `MOST_SENTENCES`.
    """
    sentences = [part for part in re.split(r"(?<=[.;!?])\s+|\n+", text.strip()) if part.strip()]
    if len(sentences) > MOST_SENTENCES:
        return []
    others = [index for index, sentence in enumerate(sentences) if _asks(sentence)]
    return [
        Request(
            re.sub(r"\s*[.;!?]+$", "", sentence.strip()),
            sentence.rstrip().endswith("?"),
            index == len(sentences) - 1,
            len(sentences) == 1,
        )
        for index, sentence in enumerate(sentences)
        if len(sentence) <= LONGEST_SENTENCE and set(others) <= {index}
    ]


def is_brief_format(output_format: str) -> bool:
    """Whether an output format leaves room for a label alone."""
    bare = re.sub(r"\b(?:no|without)\b[^.;\n]*", "only", output_format, flags=re.IGNORECASE)
    return not output_format.strip() or bool(_ONLY_FORM.search(output_format) and not _LONG_FORM.search(bare))


def _asks(sentence: str) -> bool:
    if _LONG_FORM.search(sentence) is None and _ONLY_FORM.search(sentence):
        return False
    return sentence.rstrip().endswith("?") or _OTHER_WORK.search(sentence.strip()) is not None
