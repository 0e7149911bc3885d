"""What requests had a model do."""

from edge_runtime.serving.use import Use


def test_model_that_was_never_asked_did_nothing() -> None:
    assert Use() == Use(requests=0, read_tokens=0, written_tokens=0)
