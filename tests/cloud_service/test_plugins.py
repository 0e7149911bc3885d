"""Commands of `loragen` that other packages add."""

from importlib.metadata import EntryPoint

import pytest

from cloud_service import cli


def test_plugin_whose_package_is_not_in_this_installation_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = EntryPoint("ghost", "package_that_is_not_here.cli:run", cli.COMMAND_GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [absent])
    monkeypatch.setattr("sys.argv", ["loragen", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "serve" in text
    assert "ghost" not in text
