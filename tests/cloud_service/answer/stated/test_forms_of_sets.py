"""Sets that people state in other forms than a list behind `Labels:`; what all modules find of them together."""

import pytest

from cloud_service.answer.stated.stated_choices import stated_sets

STATED = {
    "True or False: the thing may go into the bin.": ("True", "False"),
    "Sweet or savoury? Judge the dish.": ("sweet", "savoury"),
    "Which continent is it on? Africa, Asia, North America or Oceania.": ("Africa", "Asia", "North America", "Oceania"),
    "Put each animal into one of the groups mammals, birds and fish.": ("mammals", "birds", "fish"),
    "Say which season fits (spring, summer, autumn, winter) and return it.": ("spring", "summer", "autumn", "winter"),
    "The answer has to be cat, dog or bird.": ("cat", "dog", "bird"),
    "Pick the folder for the file - photos, music, or videos.": ("photos", "music", "videos"),
    "On a scale of 1 (awful) to 3 (superb), rate the meal.": ("1", "2", "3"),
    "Assign a severity of 1, 2 or 3 to the incident.": ("1", "2", "3"),
    "Judge how spicy the dish is (1-4).": ("1", "2", "3", "4"),
    "Show 🟢 when it is on track, 🟡 when there are worries, 🔴 otherwise.": ("🟢", "🟡", "🔴"),
    "Pick the weather symbol: ☀️, 🌧️ or ❄️.": ("☀️", "🌧️", "❄️"),
    "Write < if the first is smaller, > if it is larger, = if they are equal.": ("<", ">", "="),
    "Return toxic for insults or threats. Everything else is clean.": ("toxic", "clean"),
    "Choose the shelf.\n1. Crime - murder\n2. Travel - journeys\n\nWrite the name of the shelf.": ("Crime", "Travel"),
    "A comment is on the opening (O) or the endgame (E). Write the single letter.": ("O", "E"),
    "Output: positive or negative": ("positive", "negative"),
    "Would you say the review is good or bad?": ("good", "bad"),
    "Decide if the premise supports the claim: yes, no or not sure": ("yes", "no", "not sure"),
    'Call each text "fine" or "odd".': ("fine", "odd"),
    "from the following list: red, green": ("red", "green"),
    "Decide: refund or replacement?": ("refund", "replacement"),
    "one word (past, present or future)": ("past", "present", "future"),
    "Only the digit: 1, 2, 3": ("1", "2", "3"),
    "Which kind of text is it, news or opinion": ("news", "opinion"),
    "How does the author feel, as good or bad?": ("good", "bad"),
    "Flag it: toxic, clean": ("toxic", "clean"),
    "Does the writer feel hopeful or resigned?": ("hopeful", "resigned"),
    "Say whether the writer agrees or disagrees": ("agrees", "disagrees"),
}

OPEN = (
    "Which thing should be brought? Please copy it with a, an, some or the number.",
    "Return the score of the match (1-4).",
    "Past or future: put the verb into the tense that is given.",
    "If it is late, write 'Your parcel is on its way.' If it is lost, write 'Please call us.'",
    "Add an emoji such as 🎉 or 🥳 to the end of the message.",
)


@pytest.mark.parametrize(("text", "members"), STATED.items())
def test_set_is_found_whatever_its_form(text: str, members: tuple[str, ...]) -> None:
    assert next(stated for stated in stated_sets(text) if stated.is_plain).members == members


@pytest.mark.parametrize("text", OPEN)
def test_what_looks_like_a_set_is_none(text: str) -> None:
    assert not [stated for stated in stated_sets(text) if stated.is_plain]
