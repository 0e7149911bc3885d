"""Rules: which characters of a text somebody who looks at a screen does not see.

A terminal obeys some of them. What came from a network, such as a message of a service or of a device, could delete
what stands above it, or write what nobody printed.
"""

import re

UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, ends of lines, and what turns the direction of a text."""


def visible(text: object) -> str:
    """The text, with its escape for each character that is not seen; ends of lines and tabs stay."""
    return UNSEEN.sub(lambda found: found[0] if found[0] in "\n\t" else ascii(found[0])[1:-1], str(text))
