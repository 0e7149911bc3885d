"""New names and labels."""

import random

import pytest

from training.data.families.renaming import relabel, rename_tools, respell


def test_new_names_are_different_and_in_one_style() -> None:
    known = [("play music", "Plays a song."), ("get weather", "The weather of a city."), ("play music", "Plays it.")]
    styles = set()
    for number in range(200):
        names = rename_tools(random.Random(number), known)
        assert len(set(names)) == 3
        assert all(name.strip() for name in names)
        styles.add(names[1])
    assert len(styles) > 50
    assert {"get_weather", "getWeather", "GetWeather"} <= styles


@pytest.mark.parametrize("count", [2, 5, 8])
def test_new_labels_are_different(count: int) -> None:
    drawn = [relabel(random.Random(number), count) for number in range(50)]
    assert all(len(set(labels)) == count for labels in drawn)
    assert len(set(map(tuple, drawn))) > 20


def test_respelled_labels_stay_different() -> None:
    for number in range(20):
        assert len(set(respell(random.Random(number), ["Good", "good", "so so"]))) == 3
