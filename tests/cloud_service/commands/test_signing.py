"""`loragen channels init` and `rotate`: what it makes, and what it says of it."""

from pathlib import Path

from typer.testing import CliRunner

from cloud_service.commands.main import app
from cloud_service.signing.channel_keys import load_keys


def test_init_and_rotate_say_where_things_go(tmp_path: Path) -> None:
    runner = CliRunner()
    made = runner.invoke(app, ["channels", "init", "kitchen", "--keys", str(tmp_path)])
    assert made.exit_code == 0
    assert "LORAGEN_EDGE_TRUSTED_ROOT=" + str(tmp_path / "kitchen" / "root.json") in made.output
    assert "LORAGEN_CLOUD_SIGNING_DIR/kitchen" in made.output
    rotated = runner.invoke(app, ["channels", "rotate", "kitchen", "timestamp", "targets", "--keys", str(tmp_path)])
    assert rotated.exit_code == 0
    assert "root version 2" in rotated.output
    assert load_keys(tmp_path / "kitchen" / "cloud").root.version == 2


def test_second_init_is_one_line_and_a_hint(tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["channels", "init", "kitchen", "--keys", str(tmp_path)]
    runner.invoke(app, arguments)
    again = runner.invoke(app, arguments)
    assert again.exit_code == 1
    assert "loragen channels rotate" in again.output


def test_unknown_role_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["channels", "rotate", "kitchen", "mirrors", "--keys", str(tmp_path)])
    assert result.exit_code == 2
