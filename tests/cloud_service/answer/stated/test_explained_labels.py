"""Sets whose labels a text explains one by one."""

import pytest

from cloud_service.answer.stated.explained_labels import asks_for_label, explained_sets, is_reworked, listed_sets


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("Give the code. S1 means down, S2 means slow, S3 means a question.", ("S1", "S2", "S3")),
        ("R stands for refused, D for delivered and L for lost. Return only the mark.", ("R", "D", "L")),
        ("Give the weather code. SUN means clear. RAIN means wet.", ("SUN", "RAIN")),
        ("Which zone is it? Z1 is the city, Z2 is the rest. Code only.", ("Z1", "Z2")),
        ("How does the patient come? WALK: on foot. BED: lying down. Reply with the code word.", ("WALK", "BED")),
        ("Is the verb past (P), present (N) or future (F)? Give the letter.", ("P", "N", "F")),
        ("Classify rocks into igneous (IG) and metamorphic (ME). Use the abbreviation.", ("IG", "ME")),
        ("We have three bins: paper, glass, rest. Into which one does it go?", ("paper", "glass", "rest")),
        ("Every text is either a recipe, a poem or a report. Name the kind.", ("recipe", "poem", "report")),
    ],
)
def test_labels_are_found_in_sentences(text: str, members: tuple[str, ...]) -> None:
    assert next(explained_sets(text)) == members


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("Tag the bug.\n- ui: looks wrong\n- data: numbers are wrong\nReturn the tag.", ("ui", "data")),
        ("Choose the shelf.\n1. Crime - murder\n2. Travel - journeys\nGive the shelf.", ("Crime", "Travel")),
        ("You label turns.\n\n- greet (says hello)\n- bye (leaves)\n\nOnly the label.", ("greet", "bye")),
        ("Categorise it.\n- **Meals**: food\n- **Office**: pens\n\nOne category.", ("Meals", "Office")),
        ("Assign a genre.\n\nROCK: guitars\nJAZZ: swing\n\nAnswer with the genre.", ("ROCK", "JAZZ")),
        ("Pick the queue for the mail.\n- money -> all about invoices\n- other -> all the rest", ("money", "other")),
        ("Label the review.\n- a great film -> good\n- what a bore -> bad\nGive the label.", ("good", "bad")),
        ("Sort it.\n| Code | Meaning |\n| --- | --- |\n| HW | devices |\n| SW | programs |\nThe code.", ("HW", "SW")),
        ("Find the right team.\nTeam | Topics\n--- | ---\nNetwork | wifi\nAccess | keys", ("Network", "Access")),
    ],
)
def test_labels_are_found_in_lines_and_tables(text: str, members: tuple[str, ...]) -> None:
    assert next(listed_sets(text)) == members


@pytest.mark.parametrize(
    "text",
    [
        "Expand the abbreviations. km means kilometre, kg means kilogram.",
        "Convert units: metre (m), kilogram (kg) and second (s). Use the abbreviation.",
        "Extract these fields:\n- name: full name\n- city: where they live\nOutput one line.",
        "Describe the plant.\n- height: in cm\n- colour: of the flower",
        "Follow the rules and give one word.\n- Keep numbers as they are.\n- Write in lower case.",
        "Give the label.\n| Input | Output |\n|---|---|\n| good film | positive |\n| bad film | negative |",
        "Does it live (animal), grow (fruit) or work (tool)? Give the code.",
        "Badges mean garden (A) and kitchen (B). Print the meaning of the letter.",
        'The glossary: "lift" is "elevator", "flat" is "apartment". Use one word.',
        "Write the grade in words: 1 = very good, 2 = good. Give the grade.",
    ],
)
def test_other_explanations_are_no_labels(text: str) -> None:
    masked = text.replace('"lift"', "\ue000").replace('"elevator"', "\ue001").replace('"flat"', "\ue002")
    assert not list(explained_sets(masked.replace('"apartment"', "\ue003")))
    assert not list(listed_sets(text))


@pytest.mark.parametrize(
    ("text", "asks", "reworks"),
    [
        ("Answer with the code.", True, False),
        ("Which team is it for?", True, False),
        ("How are you?", False, False),
        ("Translate it. Give the word.", False, True),
        ("It is converted. Give the code.", True, False),
    ],
)
def test_text_asks_for_a_label_or_for_other_work(text: str, asks: bool, reworks: bool) -> None:
    assert (asks_for_label(text), is_reworked(text)) == (asks, reworks)
