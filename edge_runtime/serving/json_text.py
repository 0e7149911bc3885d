"""Rule: how a value that a model wrote becomes JSON again.

Letters stay as they are. A model may write the escape of half a surrogate pair, which is JSON and no Unicode: a text
that has one is written in ASCII, where it stays an escape. Then whatever was read can be sent.
"""

import json
from typing import Any

from starlette.responses import JSONResponse


def json_text(value: Any, *, compact: bool = False) -> str:
    """A value as JSON, which UTF-8 can encode.

    Args:
        value: Made of what JSON knows; its numbers are finite.
        compact: Without blanks between its parts.
    """
    separators = (",", ":") if compact else None
    text = json.dumps(value, ensure_ascii=False, separators=separators)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=separators)
    return text


class AnswerResponse(JSONResponse):
    """A response whose body has what a model wrote."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json_text(content, compact=True).encode()
