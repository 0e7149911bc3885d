"""Every error has a status over gRPC."""

from grpc import StatusCode

from cloud_service.errors import CloudError, PromptTooLongError
from cloud_service.grpc.status import GRPC_STATUS, grpc_status
from loragen.web.errors import BodyTimeoutError
from tests.cloud_service.error_tree import tree


def test_table_is_total_and_has_nothing_else() -> None:
    assert set(GRPC_STATUS) == {*tree(CloudError), BodyTimeoutError}


def test_status_of_an_error_is_that_of_its_class() -> None:
    assert grpc_status(PromptTooLongError(2, 1, "tokens")) == StatusCode.INVALID_ARGUMENT
