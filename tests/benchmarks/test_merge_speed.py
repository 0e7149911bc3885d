"""How merges are counted: the first one by itself, the others as a median, beside a plain copy."""

from pathlib import Path

import pytest

from benchmarks import merge_speed


def test_first_merge_is_kept_apart_from_the_median_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, seconds = tmp_path / "base.gguf", iter([9.0, 2.0, 1.0, 3.0])
    base.write_bytes(bytes(1_000_000))

    def merge_apart(base_gguf: Path, out: Path, type_name: str, cache: Path) -> dict[str, float]:
        assert (base_gguf, type_name) == (base, "Q4_0")
        out.write_bytes(bytes(1000))
        return {"seconds": next(seconds), "peak_megabytes": 5.0}

    monkeypatch.setattr(merge_speed, "BUILD", tmp_path)
    monkeypatch.setattr(merge_speed, "ensure_base", lambda: base)
    monkeypatch.setattr(merge_speed, "_merge_apart", merge_apart)
    figures = merge_speed.run(runs=3, types=("Q4_0",))
    assert (figures["merge_q4_0_first_seconds"].value, figures["merge_q4_0_seconds"].value) == (9.0, 2.0)
    assert (figures["merge_q4_0_peak_megabytes"].value, figures["merge_q4_0_peak_megabytes"].baseline) == (5.0, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["base.gguf"]
