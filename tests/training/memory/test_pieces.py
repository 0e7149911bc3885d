"""Descriptions in pieces."""

from cloud_service.task import Example, TaskDescription, Tool
from training.memory.pieces import Piece, in_words, split_description


def test_every_part_of_a_description_is_a_piece() -> None:
    task = TaskDescription(
        "Route it. Be quick.", (Example("hi", "ok"),), (Tool("PlayMusic", "plays", ("song_name",)),), "A name"
    )
    assert split_description(task, ("yes",)) == (
        Piece("description", "Route it.", "Route it."),
        Piece("description", "Be quick.", "Be quick."),
        Piece("tool", "play music: plays", "PlayMusic", value_span=(0, 10)),
        Piece("parameter", "play music song name", "song_name", value_span=(11, 20)),
        Piece("example", "hi => ok", "ok", (0, 2), (6, 8)),
        Piece("format", "A name", "A name"),
        Piece("label", "yes", "yes", value_span=(0, 3)),
    )


def test_names_are_read_in_words() -> None:
    assert [in_words(name) for name in ("PlayMusic_2", "get-weather", "__")] == ["play music 2", "get weather", "__"]
