"""The product's path: the service reads the prompt that is evaluated, and a failing service is told with its log."""

from pathlib import Path

import pytest

from cloud_service.schemas import GenerateLoraBody
from cloud_service.task import Example, TaskDescription, Tool, render_prompt
from loragen.client import StackError
from training.evaluation.served import PairPaths, request_body, serve_pair


def test_cloud_renders_the_prompt_that_is_scored() -> None:
    task = TaskDescription(
        "Pick a tool.",
        (Example("wake me", "set_alarm"),),
        (Tool("set_alarm", "Sets an alarm.", ("time", "label")), Tool("fn42", "")),
        "Only the name.",
    )
    request = GenerateLoraBody.model_validate(request_body(task)).to_request()
    assert render_prompt(request.task) == render_prompt(task)


def test_service_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    for name in ("cloud", "edge", "generator"):
        (tmp_path / "pair" / name).mkdir(parents=True)
    (tmp_path / "pair/edge-f16.gguf").write_bytes(b"no base GGUF")
    with (
        pytest.raises(StackError, match=r"(?s)(cloud_service|edge_runtime) ended with exit code .*\n."),
        serve_pair(PairPaths.of(tmp_path / "pair"), tmp_path / "state", "Q4_K"),
    ):
        pass
