"""Which words announce a list of answers."""

import pytest

from cloud_service.answer.stated.announcements import announced_sets, sets_of_format


@pytest.mark.parametrize(
    "text",
    [
        "Choose from up, down.",
        "Pick one: up, down.",
        "Reply with one of: up, down.",
        "One of up, down.",
        "Possible answers: up, down.",
        "Use the tags up, down.",
        "Write only up or down.",
        "ticket direction Say up or down.",
        "Options: [up, down]",
        "Answer in one word: up or down.",
    ],
)
def test_plain_words_announce_a_plain_set(text: str) -> None:
    assert next(announced_sets(text)) == (("up", "down"), True)


@pytest.mark.parametrize(
    "text",
    [
        "Do not write up or down.",
        "Copy what people say or do.",
        "Choose words from the title, text or caption.",
        "Pick one word that goes up or down.",
        "One of them is up or down.",
        "up, down",
    ],
)
def test_other_words_announce_none(text: str) -> None:
    assert not [members for members, is_plain in announced_sets(text) if is_plain]


def test_format_that_is_a_list_is_a_set_and_with_commas_alone_an_unsure_one() -> None:
    assert next(sets_of_format("up or down")) == (("up", "down"), True)
    assert next(sets_of_format("just up, not up or down")) == (("up", "not up", "down"), True)
    assert next(sets_of_format("up, down")) == (("up", "down"), False)
    assert not list(sets_of_format("the name"))
