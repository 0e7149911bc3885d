"""Functions of short texts."""

import pytest

from training.data.families.word_functions import WORD_FUNCTIONS, plural, words


def test_functions_do_what_they_are_called() -> None:
    results = {name: function("wake Me at seven.") for name, function in WORD_FUNCTIONS.items()}
    assert results == {
        "no_vowels": "wk M t svn.",
        "vowels_only": "aeeaee",
        "vowel_count": "6",
        "letter_count": "13",
        "last_letters": "eetn",
        "longest_word": "seven",
        "shortest_word": "Me",
        "third_word": "at",
        "sorted_words": "at Me seven. wake",
        "swapped_ends": "seven. Me at wake",
        "first_and_last": "wake seven.",
        "doubled_words": "wake wake Me Me at at seven. seven.",
        "twice": "wake Me at seven. wake Me at seven.",
        "every_other": "wake at",
        "spelled_out": "w-a-k-e",
        "no_spaces": "wakeMeatseven.",
        "camel": "wakeMeAtSeven",
        "starred": "wake*Me*at*seven.",
        "slashes": "wake / Me / at / seven.",
        "no_punctuation": "wake Me at seven",
        "sentence_case": "Wake me at seven.",
        "dotted_acronym": "W.M.A.S.",
        "square_brackets": "[wake Me at seven.]",
        "parentheses": "(wake Me at seven.)",
        "bold_tags": "<b>wake Me at seven.</b>",
        "note_prefix": "Note: wake Me at seven.",
        "done_suffix": "wake Me at seven. - done",
        "thanks_suffix": "wake Me at seven., thank you",
        "json_text": '{"text": "wake Me at seven."}',
        "numbered": "1.wake 2.Me 3.at 4.seven.",
    }


def test_words_are_without_the_signs_around_them() -> None:
    assert words("'Don't (go) now!") == ["Don't", "go", "now"]
    assert WORD_FUNCTIONS["json_text"]('say "\\"') == r'{"text": "say \"\\\""}'


@pytest.mark.parametrize(
    ("noun", "expected"), [("cup", "cups"), ("city", "cities"), ("key", "keys"), ("box", "boxes"), ("bench", "benches")]
)
def test_plural_follows_the_spelling(noun: str, expected: str) -> None:
    assert plural(noun) == expected
