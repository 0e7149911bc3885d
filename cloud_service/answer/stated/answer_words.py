"""Values: the words with which texts ask for an answer, as parts of regular expressions.

Texts are searched with their quotations and symbols masked (`quotations`).
"""

import re

MOST_MATCHES = 32
"""Places of one text where one pattern is tried."""

WORD = r"[\w+#&\uE000-\uF8FF-]{1,40}"
"""A label of one word."""

ANSWER_VERBS = "say|answer|reply|respond|return|write|output|print"
"""Verbs of a command that an answer follows, whatever else the sentence says."""

SAY = (
    rf"(?:{ANSWER_VERBS}|give|use|mark(?: it)?|react|show|put|enter|choose|pick)"
    r"(?: (?:back|only|just))?(?: with)?"
    r"(?: (?:(?:the|one|an?) )?(?:single )?(?:word|letter|label|code|tag|digit|number|emoji|sign|symbol):?)?"
)
"""A command that a label follows."""

NO_LABEL = re.compile(
    r"(?:(?-i:a)|an|the|in|with|by|to|for|at|on|of|if|when|about|from|its?|your|that|this|one|only|exactly|either|each|any"
    r"|all|as|how|what|which|word|and|or|you|me|is|are|was|were|does|do|did|can|could|should|would|will|has|have|not"
    r"|nothing|so|he|she|his|her|him|them|they|null|empty|something|anything|everything|us|there|back|out|up to)$",
    re.IGNORECASE,
)
"""Words that are no labels, though they stand where one may."""
