"""The tree of front errors, and what every error carries."""

import re

from loragen.web import errors
from loragen.web.errors import CutOffError, FrontError, MethodError, ServiceError


def tree(root: type[FrontError]) -> set[type[FrontError]]:
    return {root}.union(*(tree(child) for child in root.__subclasses__()))


def test_docstring_draws_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+Error)", errors.__doc__ or ""))
    assert drawn == {"ConfigurationError", *(error.__name__ for error in tree(FrontError))}


def test_each_front_error_has_a_code_of_its_own_and_a_status() -> None:
    leaves = tree(FrontError) - {FrontError}
    assert len({error.code for error in leaves}) == len(leaves)
    assert all(400 <= error.status < 500 for error in leaves - {CutOffError})


def test_error_carries_message_hint_and_code() -> None:
    class FullError(ServiceError):
        code = "full"

    assert (str(FullError("no room", "wait")), FullError("no room", "wait").hint) == ("no room", "wait")
    assert FullError("no room").code == "full"
    assert FullError("no room", code="crowded").code == "crowded"


def test_headers_say_when_to_ask_again_and_which_methods_are_allowed() -> None:
    error = ServiceError("full")
    assert error.headers == {}
    error.retry_after_seconds = 2.9
    assert error.headers == {"retry-after": "2"}
    assert MethodError("GET, HEAD").headers == {"allow": "GET, HEAD"}
