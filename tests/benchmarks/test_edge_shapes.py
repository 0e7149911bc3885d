"""The life of an edge model, at tiny shapes: each step finds what the one before left, and says what it took."""

from pathlib import Path

import pytest

from benchmarks import edge_shapes
from benchmarks.edge_shapes import Cost
from benchmarks.errors import BenchmarkError
from benchmarks.random_pair import SHAPES
from cloud_service.generator.edge import edge_shape


@pytest.fixture(autouse=True)
def build_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_every_step_is_taken_with_one_pair_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps run in this process; that they run apart is the next test."""
    monkeypatch.setattr(edge_shapes, "take_apart", edge_shapes.take_here)
    costs = edge_shapes.measure("tiny")
    assert list(costs) == ["make", "cloud", "probe", "convert", "merge", "merge_again", "serve"]
    assert all(cost.seconds > 0 and cost.peak_mb >= cost.anonymous_mb > 0 for cost in costs.values())
    numbers = 2 * 3 * 16 * (256 + 512)  # two layers, three projections, rank 16
    assert 2 * numbers < costs["cloud"].found["bundle_mb"] * 1e6 < 2 * numbers + 8192
    assert 16 * numbers < costs["make"].found["bank_mb"] * 1e6 < 16 * numbers + 8192
    assert costs["merge"].found["retained_delta"] > 0.9
    assert not list(Path("build").iterdir())
    table = edge_shapes.render({"tiny": costs}).splitlines()
    assert table[0] == "| | tiny |"
    assert all(line.count("|") == 3 for line in table)
    figures = edge_shapes.figures("tiny", costs, "c")
    assert figures["tiny_merge_peak"].baseline == pytest.approx(costs["make"].found["weights_mb"], abs=1e-3)
    assert figures["tiny_answer"].value == pytest.approx(costs["serve"].found["answer_seconds"], abs=1e-3)


def test_failing_step_is_reported_with_its_last_words(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, which finds no bundle."""
    monkeypatch.chdir(root)
    with pytest.raises(BenchmarkError, match=r"tiny, step merge ended with 1: .*bundle\.safetensors"):
        edge_shapes.take_apart("merge", "tiny", Path("nowhere"))


def test_command_measures_the_families_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[tuple[str, str]] = []
    timed = (f"{name}{kind}_seconds" for name in ("digest", "generate", "assemble", "answer") for kind in ("", "_cpu"))
    sizes = ("parameters", "bank_mb", "weights_mb", "bundle_mb", "base_mb", "merged_mb", "retained_delta")
    found = dict.fromkeys((*timed, *sizes), 1.0)

    def take(step: str, family: str, folder: Path) -> Cost:
        taken.append((family, step))
        return Cost(2.0, 3.0, 400.0, 300.0, found)

    monkeypatch.setattr(edge_shapes, "take_apart", take)
    edge_shapes.main(["--families", "qwen2-1.5b,gemma2-2b", "--out", str(tmp_path / "figures.json")])
    assert {family for family, _ in taken} == {"qwen2-1.5b", "gemma2-2b"}
    printed = capsys.readouterr().out
    assert "| | qwen2-1.5b | gemma2-2b |" in printed
    assert "| merge again, s (CPU s) | 2.0 (3.0) | 2.0 (3.0) |" in printed


def test_shapes_are_those_of_the_published_models() -> None:
    shapes = {name: edge_shape(SHAPES[name]()) for name in edge_shapes.FAMILIES}
    assert {name: (s.layers, s.hidden, s.intermediate) for name, s in shapes.items()} == {
        "tinyllama-1.1b": (22, 2048, 5632),
        "qwen2-1.5b": (28, 1536, 8960),
        "gemma2-2b": (26, 2304, 9216),
    }
