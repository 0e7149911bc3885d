"""The generated reference: what it says of a setting, a command and a variable, and that drift is found."""

from pathlib import Path

import pytest

from scripts import reference


def test_document_in_the_repository_is_what_the_code_gives() -> None:
    assert reference.main(["--check"]) == 0


@pytest.mark.parametrize(
    "line",
    [
        "| `LORAGEN_CLOUD_PORT` | `8080` | HTTP port; 0 picks a free one. |",
        "| `LORAGEN_EDGE_LOG_LEVEL` | `info` | Least level logged. One of debug, info, warning, error. |",
        "### `loragen publish BUNDLE_ID`",
        "### `loragen-edge run`",
        "| `not_acceptable` | 406 | `INVALID_ARGUMENT` | The client accepts none of the media types on offer. |",
        "| `head_too_large` | 431 |  | Path and headers are longer than the limit. |",
        "| `specialization_failed` | 404 | The specialization failed; `/status` says why. |",
        "| `--steps` | `60` | Most steps of --refine. |",
        "| `--failing/--well` | none | Only devices on which a bundle failed, or the others. |",
        "| `--config FILE` | none | YAML or TOML file of settings; environment variables win over it. |",
    ],
)
def test_settings_and_commands_have_lines(line: str) -> None:
    assert line in reference.render().splitlines()


def test_difference_is_found_and_written_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "docs" / "reference.md"
    monkeypatch.setattr(reference, "TARGET", target)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    target.write_text(target.read_text() + "more")
    assert reference.main(["--check"]) == 1
