"""Settings from the command line."""

import pytest

from training.memory.settings import MemorySettings, MemorySettingsError, parse_settings


def test_texts_change_settings() -> None:
    assert parse_settings(["steps=7", "rate=1e-3", "start=a=b"]) == MemorySettings(steps=7, rate=1e-3, start="a=b")


@pytest.mark.parametrize("text", ["stepps=7", "steps=many"])
def test_bad_texts_are_refused(text: str) -> None:
    with pytest.raises(MemorySettingsError):
        parse_settings([text])
