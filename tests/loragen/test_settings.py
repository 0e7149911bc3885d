"""Settings: from the environment and from a file, with one line for each problem."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from loragen.settings import CLOUD_PREFIX, ServiceSettings
from loragen.web.errors import ConfigurationError
from loragen.web.tls import TlsFiles


class Oven(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix=CLOUD_PREFIX)

    port: int = Field(default=1, ge=0, le=100)
    name: str | None = None
    racks: tuple[int, ...] = ()
    secret: SecretStr | None = None

    @model_validator(mode="after")
    def _verify(self) -> "Oven":
        if self.port == len(self.racks):
            raise ValueError("as many racks as ports")
        return self


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems(config: Path | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Oven.load(config)
    return str(caught.value).splitlines()


def test_defaults_need_neither_environment_nor_file() -> None:
    assert Oven.load() == Oven()


def test_variables_are_read_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "7")
    monkeypatch.setenv("loragen_cloud_log_level", "DEBUG")
    settings = Oven.load()
    assert (settings.port, settings.log_level) == (7, "debug")


def test_empty_value_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "")
    monkeypatch.setenv("LORAGEN_CLOUD_NAME", "")
    assert Oven.load() == Oven()
    assert Oven.load(written(tmp_path / "oven.yaml", "port:\nname: ''\n")) == Oven()
    assert Oven.load(written(tmp_path / "empty.yaml", "")) == Oven()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("oven.toml", 'port = 7\nname = "hot"\nracks = [1, 2]'),
        ("oven.yaml", "port: 7\nname: hot\nracks: [1, 2]"),
        ("oven.yml", '{"port": 7, "name": "hot", "racks": [1, 2]}'),
    ],
)
def test_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str) -> None:
    config = written(tmp_path / name, text)
    assert Oven.load(config) == Oven(port=7, name="hot", racks=(1, 2))
    monkeypatch.setenv("LORAGEN_CLOUD_NAME", "cold")
    assert Oven.load(config) == Oven(port=7, name="cold", racks=(1, 2))


def test_each_problem_is_a_line_that_names_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "700")
    monkeypatch.setenv("LORAGEN_CLOUD_LOG_LEVEL", "loud")
    monkeypatch.setenv("LORAGEN_CLOUD_RACKS", "[1")
    monkeypatch.setenv("LORAGEN_CLOUD_NAMES", "hot")
    config = written(tmp_path / "oven.toml", "racks = [1, 'x']\nprot = 7")
    assert [line.split(" ")[0] for line in problems()] == [
        "LORAGEN_CLOUD_NAMES:",
        "LORAGEN_CLOUD_LOG_LEVEL:",
        "LORAGEN_CLOUD_PORT:",
        "LORAGEN_CLOUD_RACKS:",
    ]
    monkeypatch.delenv("LORAGEN_CLOUD_RACKS")
    lines = problems(config)
    assert f"{config}: prot: no such setting; the nearest is port" in lines
    assert [line for line in lines if line.startswith(f"{config}: racks.1: ")]
    assert len(lines) == 5


def test_rule_about_several_settings_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "0")
    assert problems() == ["as many racks as ports"]


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("LORAGEN_CLOUD_PROT", "LORAGEN_CLOUD_PORT"),
        ("loragen_cloud_log_levle", "LORAGEN_CLOUD_LOG_LEVEL"),
        ("LORAGEN_COULD_PORT", "LORAGEN_CLOUD_PORT"),
        ("LORAGEN_EGDE_BASE_MODEL", "LORAGEN_EDGE_BASE_MODEL"),
        ("LORAGEN_URLS", "LORAGEN_URL"),
        ("LORAGEN_CASHE", "LORAGEN_CACHE"),
    ],
)
def test_unknown_variable_stops_the_start_and_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert problems() == [f"{variable}: no such variable; the nearest is {nearest}"]


@pytest.mark.parametrize("variable", ["LORAGEN_EDGE_BASE_MODEL", "LORAGEN_CACHE", "LORAGEN_URL", "CLOUD_PROT"])
def test_variable_of_the_other_service_or_of_a_command_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert Oven.load() == Oven()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("oven.ini", "port=7"),
        ("oven.toml", "port: 7"),
        ("oven.yaml", "port: [7\nname: {"),
        ("oven.yaml", "- port"),
        ("oven.yaml", "7"),
        ("oven.yaml", "[]"),
        ("oven.yaml", "!!python/object/apply:os.getcwd []"),
    ],
)
def test_file_that_holds_no_settings_is_one_line(tmp_path: Path, name: str, text: str) -> None:
    (line,) = problems(written(tmp_path / name, text))
    assert line.startswith(f"{tmp_path / name}: ")


def test_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    (line,) = problems(tmp_path / "oven.yaml")
    assert "No such file" in line


def test_value_of_a_bad_setting_does_not_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It may be a secret under a wrong name, or of a wrong shape."""
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "hunter2")
    config = written(tmp_path / "oven.toml", "secret = ['hunter2']")
    assert "hunter2" not in "".join(problems(config))


def test_settings_cannot_be_changed_and_take_no_other_names() -> None:
    settings = Oven()
    with pytest.raises(ValidationError):
        settings.port = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Oven(prot=2)  # type: ignore[call-arg]


def test_allowed_hosts_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_ALLOWED_HOSTS", " Cloud, *.example.com ,")
    assert Oven.load().allowed_hosts == ("cloud", "*.example.com")
    assert Oven.load().hosts.includes("cloud:80")
    monkeypatch.setenv("LORAGEN_CLOUD_ALLOWED_HOSTS", "http://cloud")
    assert problems() == [
        "LORAGEN_CLOUD_ALLOWED_HOSTS: expected a host without scheme and port, *.name, or *, found 'http://cloud'"
    ]
    monkeypatch.delenv("LORAGEN_CLOUD_ALLOWED_HOSTS")
    assert Oven.load(written(tmp_path / "oven.yaml", "allowed_hosts: [cloud]")).allowed_hosts == ("cloud",)


def test_certificate_and_key_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Oven.load().tls_files is None
    monkeypatch.setenv("LORAGEN_CLOUD_TLS_CERTIFICATE", "chain.pem")
    assert problems() == ["LORAGEN_CLOUD_TLS_CERTIFICATE and LORAGEN_CLOUD_TLS_KEY: expected both, found one"]
    monkeypatch.setenv("LORAGEN_CLOUD_TLS_KEY", "key.pem")
    assert Oven.load().tls_files == TlsFiles(Path("chain.pem"), Path("key.pem"))
