"""A local stack: what a pair is, and the whole of it with random models."""

import json
import time
from pathlib import Path

import pytest

from loragen import LocalStack
from loragen.client.errors import StackError
from loragen.client.retries import Deadline
from loragen.client.stack import ModelPair
from tests.cloud_service.generator.tiny import make_pair


def write_pair(folder: Path) -> None:
    (folder / "generator").mkdir(parents=True)
    manifest = {"cloud_model": {"id": "package:carrier"}, "edge_model": {"id": "org/edge"}}
    (folder / "generator" / "generator.json").write_text(json.dumps(manifest))


def test_models_are_the_pairs_own_or_those_its_generator_names(tmp_path: Path) -> None:
    write_pair(tmp_path)
    pair = ModelPair.at(tmp_path)
    assert (pair.cloud_model, pair.edge_model, pair.edge_model_id) == ("package:carrier", "org/edge", "org/edge")
    for kind in ("cloud", "edge"):
        (tmp_path / kind).mkdir()
    pair = ModelPair.at(tmp_path)
    assert (pair.cloud_model, pair.edge_model) == (str(tmp_path / "cloud"), str(tmp_path / "edge"))


def test_edge_model_that_is_no_hub_id_is_found_by_its_source(tmp_path: Path) -> None:
    edge = {"id": "small.Q4_1", "source": "package:carrier/small.Q4_1.gguf"}
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator" / "generator.json").write_text(json.dumps({"cloud_model": {"id": "c"}, "edge_model": edge}))
    pair = ModelPair.at(tmp_path)
    assert (pair.cloud_model, pair.edge_model, pair.edge_model_id) == ("c", edge["source"], edge["id"])


@pytest.mark.parametrize("manifest", ["", "[]", '{"cloud_model": {}}'])
def test_generator_that_names_no_models_is_an_error(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "generator").mkdir()
    if manifest:
        (tmp_path / "generator" / "generator.json").write_text(manifest)
    with pytest.raises(StackError, match=r"generator\.json does not say"):
        ModelPair.at(tmp_path)


def test_service_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "edge-f16.gguf").write_bytes(b"no base GGUF")
    stack = LocalStack(ModelPair.at(tmp_path), tmp_path / "state")
    with (
        pytest.raises(StackError, match=r"(?s)(cloud_service|edge_runtime) ended with exit code .*the end of .*\n."),
        stack,
    ):
        pass


def test_edge_model_that_cannot_be_converted_is_reported(tmp_path: Path) -> None:
    write_pair(tmp_path)
    stack = LocalStack(ModelPair.at(tmp_path), tmp_path / "state")
    with pytest.raises(StackError, match=r"(?s)loragen-edge convert ended with exit code 2.*org/edge"), stack:
        pass


@pytest.mark.slow
def test_task_is_served_by_the_device_at_the_end(tmp_path: Path) -> None:
    """The edge model is converted on the way."""
    make_pair(tmp_path)
    with LocalStack(ModelPair.at(tmp_path), tmp_path / "state") as stack:
        answer = stack.cloud.generate("Say whether a review is positive or negative.")
        stack.cloud.publish("local", "reviews", answer.id)
        served = stack.device.wait_until_serving("reviews", answer.id, merged=True)  # by its recipe, which made it
        assert served.recipe_id == answer.id != served.bundle_id
        assert served.retained_delta is not None
        chosen = stack.device.chat("reviews", "Dull.", temperature=0, choices=["positive", "negative"])
        assert chosen.text in ("positive", "negative")
        deadline = Deadline(20)
        while not (reported := stack.cloud.devices("local").devices) and deadline.remaining_seconds > 0:
            time.sleep(0.1)
        assert [device.device_id for device in reported] == ["local-device"]
        stack.verify_alive()
    with pytest.raises(StackError, match="ended with exit code 0"):
        stack.verify_alive()
