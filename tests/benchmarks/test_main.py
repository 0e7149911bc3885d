"""`python -m benchmarks`: which benchmarks run, and what their failures leave."""

from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure, Figures, load_figures


def measured(name: str, value: float) -> Figures:
    return {name: Figure.of(value, "ms", f"python -m benchmarks.{name}")}


def failing(_pair: Path) -> Figures:
    raise BenchmarkError("no model pair")


def test_every_script_can_be_asked_for() -> None:
    scripts = {
        path.stem for path in Path(__file__).parents[2].glob("benchmarks/*.py") if "\ndef run(" in path.read_text()
    }
    assert set(BENCHMARKS) == scripts - {"__main__"}


def test_only_the_named_benchmarks_run(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    benchmarks = {"fast": lambda _pair: measured("fast", 1.0), "slow": failing}
    assert main(["fast", "--out", str(out)], benchmarks) == 0
    assert set(load_figures(out)) == {"fast"}


def test_unnamed_leaves_out_what_wants_another_machine(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    assert main(["--out", str(out)], {"fast": lambda _pair: measured("fast", 1.0), "edge_shapes": failing}) == 0
    assert set(load_figures(out)) == {"fast"}


def test_failure_is_reported_and_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    benchmarks = {"broken": failing, "sound": lambda _pair: measured("sound", 2.0)}
    assert main(["--out", str(out)], benchmarks) == 1
    assert load_figures(out)["sound"].value == 2.0
    assert "broken failed: no model pair" in capsys.readouterr().err


def test_benchmark_gets_the_pair_that_was_named(tmp_path: Path) -> None:
    seen: list[Path] = []

    def remember(pair: Path) -> Figures:
        seen.append(pair)
        return measured("some", 1.0)

    main(["--pair", "some/pair", "--out", str(tmp_path / "bench.json")], {"some": remember})
    assert seen == [Path("some/pair")]


def test_unknown_name_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing"], {"some": failing})
    assert "no benchmark nothing; there are some" in capsys.readouterr().err
