"""Rule: which descriptions are a question of yes or no, such as `Is the customer angry?`, with nothing listed."""

import re
from collections.abc import Iterator

from cloud_service.answer.stated.task_sentences import Request

_ANSWERS = (
    *(("yes", "no"), ("Yes", "No"), ("YES", "NO"), ("true", "false"), ("True", "False"), ("TRUE", "FALSE")),
    *(("y", "n"), ("Y", "N"), ("1", "0")),
)

_QUESTION = re.compile(
    r"(?:is|are|does|do|did|has|have|had|can|could|should|will|would|was|were|must)\s+\S.*", re.IGNORECASE
)
_WITHOUT_MARK = re.compile(r"(?:is|are|does|did|has|was|were)\s+\S+\s+\S.*", re.IGNORECASE)
_CHECK = re.compile(
    r"(?:please )?(?:check|determine|decide|detect|judge|predict|verify|find out|assess|(?:say|tell)(?: me| us)?)"
    r" (?:whether|if) (?P<said>(?!there(?:'s| is| are) an?y?(?:thing)? (?:better|missing|wrong))(?!any|some)\S+ \S.*)",
    re.IGNORECASE,
)
_NOT_POLAR = re.compile(
    r"\b(?:or|nor|either|you|your|yourself|u|me(?= )|my|please|let's|else|how|why|what|whose|that all"
    r"|in (?:one|two|a) \w+)\b"
    r"|\bI\b|[:/(]|,\s*(?:and|if|then|which|but)\b"
    r"|\band (?:who|which|when|where|if|then|give|return|write|correct|fix|list|name|extract|print|say|tell|translate"
    r"|rewrite|replace|remove|add|explain|count|show|answer|output|change|convert|make|summari[sz]e|mark|quote|compute"
    r"|calculate)\b"
    r"|\b(?:say|tell|mention|state|know|explain|show|reveal|specify)\w* (?:who|when|where|which)\b"
    r"|\b(?:synonyms?|antonyms?|rhymes?|another (?:word|way)|better (?:word|way|name|title))\b",
    re.IGNORECASE,
)
"""Offers a choice, asks the assistant, or asks for more than yes or no."""

_ASKS_FOR_TEXT = re.compile(
    r"(?:(?:can|could|will|would|should|must) (?:we|someone|somebody|anyone|anybody)\b"
    r"|(?:can|could|will|would|should|must) [^?]{1,60}? be (?:made|put|said|turned|written|re\w+|short\w+|simpl\w+"
    r"|transl\w+|convert\w+|summ\w+|improve\w+|correct\w+|fixed|express\w+|chang\w+|extract\w+|list\w+|sort\w+"
    r"|phras\w+|paraphras\w+)\b(?! (?:to|by) the)"
    r"|(?:is|are|would|will) (?:it|this|that|there)(?: be)? (?:possible|ok|okay|an? (?:way|chance)|any (?:way|chance)"
    r"|(?:an? |any )(?:\w+er|more \w+|other|good|nicer) (?:way|word|name|title|version|term|form))"
    r"|(?:is|are) there (?:an? |any |one )?(?:word|name|term|way|expression|phrase)s?\b"
    r"(?! (?:in (?:the|this)|mentioned|given|missing)\b)"
    r"|(?:has|have|does|do|did) any(?:one|body)\b|(?:is|are) any(?:one|body) able\b"
    r"|(?:do|have) (?:the|a|an|it) (?:sum|same|look|opposite|math|rest)\b)",
    re.IGNORECASE,
)
"""A request in the form of a question."""


def polar_sets(request: Request) -> Iterator[tuple[str, ...]]:
    """The pairs of answers to a question of yes or no, the usual one first; examples decide for another."""
    text = request.text
    is_asked = _QUESTION.fullmatch(text) and (request.is_question or (request.is_whole and _WITHOUT_MARK.match(text)))
    checked = _CHECK.fullmatch(text)
    if not request.is_last or not (is_asked or checked):
        return
    if checked:
        text = checked["said"]
        if " and " in text:
            return  # `check whether it rhymes and ...` may ask for something else
    if len(text.split()) > 2 and not _NOT_POLAR.search(text) and not _ASKS_FOR_TEXT.match(text):
        yield from _ANSWERS
