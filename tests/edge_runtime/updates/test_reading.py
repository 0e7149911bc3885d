"""How long the slowest disk takes to read what a trial loads."""

from pathlib import Path

import pytest

from edge_runtime.updates.reading import reading_seconds
from edge_runtime.updates.trial import Candidate

ANY = Candidate(Path("model.gguf"), Path("adapter.gguf"), Path("base.gguf"))


def test_each_file_counts_as_often_as_it_is_loaded(tmp_path: Path) -> None:
    base, merged, adapter = (tmp_path / name for name in ("base", "merged", "adapter"))
    for path, megabytes in ((base, 50), (merged, 30), (adapter, 10)):
        path.write_bytes(bytes(megabytes * 100_000))
    assert reading_seconds(Candidate(base, adapter, base).loaded) == pytest.approx(2 * (5 + 5 + 1) / 10)
    assert reading_seconds(Candidate(merged, None, base, adapter).loaded) == pytest.approx(2 * (5 + 3 + 5 + 1) / 10)
    assert reading_seconds(ANY.loaded) == 0
