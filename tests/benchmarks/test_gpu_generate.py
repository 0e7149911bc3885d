"""Generation against the bare forward pass, on a CPU at shapes where the times mean nothing and are not looked at."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_generate
from benchmarks.figures import load_figures
from benchmarks.gpu_generate import SMALL, GenerationTimes, Report, Setup
from benchmarks.random_pair import SHAPES, make_model
from benchmarks.training_step import Step, StepSize

CPU = torch.device("cpu")
TINY = replace(
    SMALL,
    cloud="tiny",
    edge="tiny",
    prompts=(20, 50),
    batches=(1, 2),
    most_tokens=60,
    step=StepSize(tasks=4, description=20, question=10, answer=5),
)


@pytest.fixture(autouse=True)
def build_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_generations_and_a_training_step_are_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the command: prompts have the tokens that were asked for, and batches over the limit are left out."""
    monkeypatch.setattr(gpu_generate, "SMALL", TINY)
    gpu_generate.main(["--device", "cpu", "--rounds", "1", "--out", "figures.json"])
    found = load_figures(tmp_path / "figures.json")
    generations = {f"{kind}_small_{place}" for kind in ("generation", "reading") for place in ("20x1", "20x2", "50x1")}
    assert set(found) == generations | {"training_step_small"}
    assert all(figure.value > 0 and figure.baseline and figure.target is None for figure in found.values())
    printed = capsys.readouterr().out
    assert "No GPU: small shapes stand in" in printed
    assert "| 20 | 2 |" in printed
    assert "Training step (4 descriptions of 20 tokens, each with an input of 10 and an answer of 5)" in printed
    assert not list(Path("build").iterdir())


def test_bare_pass_shares_the_weights_and_not_the_hooks() -> None:
    model = make_model(SHAPES["tiny"](), CPU, torch.float32)
    bare = gpu_generate._without_hooks(model.get_decoder())
    ids = torch.tensor([[3, 4, 5]])
    with torch.inference_mode():
        before = bare(input_ids=ids).last_hidden_state
        for layer in model.get_decoder().layers:
            layer.self_attn.q_proj.register_forward_hook(lambda _module, _inputs, output: output + 1)
        assert torch.equal(bare(input_ids=ids).last_hidden_state, before)
        assert not torch.equal(model.get_decoder()(input_ids=ids).last_hidden_state, before)
    assert [id(p) for p in bare.parameters()] == [id(p) for p in model.get_decoder().parameters()]


def figures_of(setup: Setup, report: Report) -> dict[str, tuple[float, float | None, float | None]]:
    return {
        name: (figure.value, figure.baseline, figure.target)
        for name, figure in gpu_generate.figures(setup, report, "command").items()
    }


def test_target_is_a_tenth_above_the_bare_pass_and_only_for_true_shapes() -> None:
    report = Report(8, {(200, 1): GenerationTimes(200, 1, 20.0, 21.0, 25.0)}, Step(100, 0.5, 2.0, 30.0))
    assert figures_of(gpu_generate.LLAMA3_8B, report) == {
        "reading_llama3_8b_200x1": (21.0, 20.0, None),
        "generation_llama3_8b_200x1": (25.0, 20.0, 22.0),
        "training_step_llama3_8b": (2.0, 0.5, None),
        "training_step_llama3_8b_peak": (30.0, None, None),
    }
    assert figures_of(SMALL, report)["generation_small_200x1"] == (25.0, 20.0, None)


def test_what_does_not_fit_is_a_row_and_no_figure() -> None:
    def work() -> GenerationTimes:
        raise torch.OutOfMemoryError("CUDA out of memory")

    report = Report(8, {(4000, 16): gpu_generate._fitting(work)}, None)
    assert figures_of(SMALL, report) == {}
    table = gpu_generate.render(SMALL, report, CPU)
    assert "| 4,000 | 16 | does not fit | | | |" in table
    assert table.endswith("does not fit.")
