"""What an error says."""

from loragen.client.errors import RemoteError


def test_message_names_status_and_request_where_there_was_an_answer() -> None:
    error = RemoteError("the queue is full", "try later", code="overloaded", status=503, request_id="r1")
    assert str(error) == "the queue is full (HTTP 503, request r1)"
    assert (error.message, error.hint) == ("the queue is full", "try later")
    assert str(RemoteError("a proxy's page", code="unexpected_answer", status=502)) == "a proxy's page (HTTP 502)"
    assert str(RemoteError("no connection", code="unreachable")) == "no connection"
