"""Rule: what a client sees of arguments that all were asked for: those that were given.

Which are asked for, and which of them may be null, is `loragen.contract.asked_arguments`.
"""

import json

_NULL = "null"


class GivenArguments:
    """Passes arguments on as they are written, without the members that are null.

    It reads JSON in the one spacing that the grammar allows, a piece at a time.

    Args:
        optional: Names of the parameters whose null is left out.
    """

    def __init__(self, optional: frozenset[str]) -> None:
        self._optional = optional
        self._depth = 0
        self._in_text = self._is_escaped = False
        self._member = ""  # what is not passed on yet of the member that is being written
        self._value_at: int | None = None  # where its value begins in it
        self._passes = self._has_passed = False

    def push(self, piece: str) -> str:
        """What can be passed on now."""
        return "".join(map(self._next, piece))

    def _next(self, sign: str) -> str:
        if self._in_text:
            self._in_text = sign != '"' or self._is_escaped
            self._is_escaped = sign == "\\" and not self._is_escaped
            return self._continue(sign)
        if sign in "}]":
            self._depth -= 1
            if not self._depth:
                self._end_member()
                return sign
        elif sign == "," and self._depth == 1:
            self._end_member()
            return ""
        elif sign in "{[":
            self._depth += 1
            if self._depth == 1:
                return sign
        self._in_text = sign == '"'
        passed = self._continue(sign)
        if sign == ":" and self._depth == 1 and not self._passes:
            self._value_at = len(self._member) + 1  # behind the blank
        return passed

    def _continue(self, sign: str) -> str:
        if self._passes:
            return sign
        self._member += sign
        if self._value_at is None or len(self._member) <= self._value_at:
            return ""
        name = json.loads(self._member[: self._value_at - 2])
        if name in self._optional and _NULL.startswith(self._member[self._value_at :]):
            return ""
        before, self._passes, self._has_passed = ", " if self._has_passed else "", True, True
        return before + self._member.lstrip(" ")

    def _end_member(self) -> None:
        self._member, self._value_at, self._passes = "", None, False
