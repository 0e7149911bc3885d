"""The document of figures: its shape, and what a partial run does to it."""

import json
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.figures import FACTOR, Figure, load_figures, merge_figures, parse_figures, print_figures

SIX_KEYS = {"value", "unit", "baseline", "ratio", "target", "command"}


def figure(value: float, **options: float) -> Figure:
    return Figure.of(value, "ms", "python -m benchmarks.some", **options)


def test_document_has_six_keys_for_each_figure(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    merge_figures(path, {"answer": figure(10.0, baseline=40.0, target=20.0), "size": figure(3.0)})
    document = json.loads(path.read_text())
    assert {name: set(fields) for name, fields in document.items()} == {"answer": SIX_KEYS, "size": SIX_KEYS}
    assert document["answer"]["ratio"] == 0.25
    assert document["size"]["baseline"] is document["size"]["ratio"] is document["size"]["target"] is None


def test_partial_run_replaces_its_figures_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    merge_figures(path, {"first": figure(1.0), "second": figure(2.0)})
    merge_figures(path, {"second": figure(3.0), "third": figure(4.0)})
    assert {name: f.value for name, f in load_figures(path).items()} == {"first": 1.0, "second": 3.0, "third": 4.0}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"answer": 3}',
        '{"answer": {"value": 3}}',
        '{"answer": {"value": null, "unit": "ms", "baseline": null, "ratio": null, "target": null, "command": ""}}',
        '{"answer": {"value": true, "unit": "ms", "baseline": null, "ratio": null, "target": null, "command": ""}}',
        '{"answer": {"value": NaN, "unit": "ms", "baseline": null, "ratio": null, "target": null, "command": ""}}',
        '{"answer": {"value": 1, "unit": 5, "baseline": null, "ratio": null, "target": null, "command": ""}}',
    ],
)
def test_other_document_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(BenchmarkError, match=r"bench\.json"):
        merge_figures(path, {"answer": figure(1.0)})
    assert path.read_text() == content


def test_target_is_an_upper_bound_except_for_factors() -> None:
    assert figure(9.0, target=10.0).is_on_target is True
    assert figure(11.0, target=10.0).is_on_target is False
    assert Figure.of(2.5, FACTOR, "", target=2.1).is_on_target is True
    assert Figure.of(2.0, FACTOR, "", target=2.1).is_on_target is False
    assert figure(1.0).is_on_target is None


def test_whole_numbers_are_accepted() -> None:
    fields = {"value": 1, "unit": "s", "baseline": 2, "ratio": 0.5, "target": 3, "command": "c"}
    assert parse_figures({"merge": fields})["merge"].value == 1


def test_printed_figures_are_those_of_the_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figures = {"speed": Figure.of(2.0, "x", "python -m bench", baseline=4.0)}
    print_figures(figures)
    path = tmp_path / "figures.json"
    path.write_text(capsys.readouterr().out)
    assert load_figures(path) == figures
