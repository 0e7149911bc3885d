"""Every error has a status over HTTP."""

from cloud_service.errors import CloudError, PromptTooLongError
from cloud_service.http.status import ERROR_ANSWERS, HTTP_STATUS
from tests.cloud_service.error_tree import tree


def test_table_is_total_and_has_nothing_else() -> None:
    assert set(HTTP_STATUS) == set(tree(CloudError))


def test_status_of_an_error_is_that_of_its_class() -> None:
    assert ERROR_ANSWERS.status(PromptTooLongError(2, 1, "tokens")) == 422
