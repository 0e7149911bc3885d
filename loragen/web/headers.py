"""Headers of a request, and of an answer on its way, as ASGI has them: pairs of bytes, names in lower case.

Every request passes several gates that look for one or two headers each. Starlette's `Headers` makes and decodes more
than they need.
"""

from collections.abc import Mapping

from starlette.types import Message, Scope


def find_header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name, which is in lower case; None without one."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def put_headers(message: Message, put: Mapping[bytes, bytes], missing: Mapping[bytes, bytes]) -> None:
    """Set the headers of an answer's beginning.

    Args:
        message: The beginning of the answer.
        put: Replace those of the same name.
        missing: Are added where there is none of the name.
    """
    headers = [(name, value) for name, value in message.get("headers", ()) if name not in put]
    present = {name for name, _ in headers}
    headers += [(name, value) for name, value in missing.items() if name not in present]
    message["headers"] = [*headers, *put.items()]
