"""One step of training is measured, here with tiny models on a CPU, where the times are not looked at."""

from pathlib import Path

import pytest
import torch

from benchmarks.gpu_generate import _without_hooks
from benchmarks.random_pair import SHAPES, make_generator, make_model, make_tokenizer, paper_config
from benchmarks.training_step import StepSize, TrainedPair, measure_step
from cloud_service.generator.edge import edge_shape


@pytest.mark.slow
def test_step_has_the_tokens_asked_for_and_its_bare_pass_beside_it(tmp_path: Path) -> None:
    config = SHAPES["tiny"]()
    cloud, edge = (make_model(config, torch.device("cpu"), torch.float32) for _ in range(2))
    bare = _without_hooks(cloud.get_decoder())
    generator = make_generator(paper_config().generator, cloud, edge_shape(config))
    pair = TrainedPair(generator, cloud, bare, edge, make_tokenizer())
    size = StepSize(tasks=4, description=20, question=10, answer=5)
    step = measure_step(pair, size, torch.float32, tmp_path, rounds=1)
    assert (step.tokens, step.peak_gigabytes) == (80, None)
    assert step.seconds > 0
    assert step.bare_seconds > 0
