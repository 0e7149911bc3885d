"""Every error has a status over HTTP."""

import pytest

from edge_runtime.errors import BusyError, EdgeError, UnknownModelError
from edge_runtime.serving.status import ERROR_ANSWERS, HTTP_STATUS
from tests.edge_runtime.test_errors import tree


def test_table_is_total_and_has_nothing_else() -> None:
    """Every error of the package has exactly one HTTP status."""
    assert set(HTTP_STATUS) == tree(EdgeError)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(BusyError("full"), 503, "server_error"), (UnknownModelError("no such"), 404, "invalid_request_error")],
)
def test_body_has_the_type_that_clients_of_openai_look_for(error: EdgeError, status: int, kind: str) -> None:
    assert ERROR_ANSWERS.status(error) == status
    assert ERROR_ANSWERS.body(error, "abc")["error"]["type"] == kind
