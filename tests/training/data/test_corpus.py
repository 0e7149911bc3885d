"""Reading packed data, and the split of a key, which may never change."""

from pathlib import Path

import pytest
import zstandard

from training.data.corpus import read_paragraphs, read_records, split_of

GOLDEN = {
    "tool/set_alarm": "train",
    "tool/play_music": "train",
    "task/rhymes": "train",
    "task/antonyms": "test",
    "": "train",
    "wake me up at seven": "train",
    "c": "validation",
    "d": "test",
    "naïve café": "validation",
}


def test_split_of_a_key_is_fixed() -> None:
    """Another hash would move held-out data into training without anybody noticing."""
    assert {key: split_of(key) for key in GOLDEN} == GOLDEN


def test_splits_have_the_shares_asked_for() -> None:
    keys = [f"key {number}" for number in range(5000)]
    for held_out in (0.1, 0.25):
        splits = [split_of(key, held_out) for key in keys]
        for split, share in (("test", held_out), ("validation", held_out), ("train", 1 - 2 * held_out)):
            assert splits.count(split) / len(keys) == pytest.approx(share, abs=0.02)


def test_holding_out_more_keeps_the_test_keys() -> None:
    keys = [f"key {number}" for number in range(500)]
    assert {k for k in keys if split_of(k, 0.1) == "test"} < {k for k in keys if split_of(k, 0.2) == "test"}


def write(path: Path, text: str) -> Path:
    path.write_bytes(zstandard.compress(text.encode()))
    return path


def test_records_are_one_json_object_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl.zst", '{"a": "é\\u2028b"}\n{"a": 2}\n')
    assert list(read_records(path)) == [{"a": "é\u2028b"}, {"a": 2}]


def test_missing_file_tells_what_data_should_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--data must name the folder that holds tools/x\.jsonl\.zst"):
        next(read_records(tmp_path / "tools/x.jsonl.zst"))


def test_paragraphs_are_joined_until_long_enough_and_never_across_books(tmp_path: Path) -> None:
    text = "short\nlines\n\n" + "b" * 15 + "\n\nlost\n<|endofdoc|>\n" + "c" * 20 + "\n\n"
    assert list(read_paragraphs(write(tmp_path / "t.zst", text), shortest=20)) == [
        "short lines " + "b" * 15,
        "c" * 20,
    ]
