"""Every code of a device is documented."""

from pathlib import Path

from edge_runtime.errors import EdgeError
from edge_runtime.serving.error_codes import ERROR_CODES
from loragen.web.errors import FrontError
from tests.raised_codes import class_codes, raised_codes

BY_CODE = {each.code: each for each in ERROR_CODES}


def test_every_code_that_is_raised_is_documented_with_its_class(root: Path) -> None:
    raised = raised_codes(root / "edge_runtime")
    assert ("specialization_failed", "UnknownModelError") in raised
    assert {code for code, _ in raised} <= set(BY_CODE)
    others = {(code, name) for code, name in raised if code not in class_codes(EdgeError)}
    assert {(code, BY_CODE[code].error.__name__) for code, _ in others} <= others
    front = {each.code for each in FrontError.__subclasses__()}
    assert set(BY_CODE) - {code for code, _ in others} <= class_codes(EdgeError) | front, "no code is raised no more"


def test_every_code_of_a_class_is_documented_in_words() -> None:
    assert class_codes(EdgeError) <= set(BY_CODE)
    assert [each.code for each in ERROR_CODES if not each.meaning.endswith(".") or len(each.meaning) < 15] == []
