"""Which closed sets of answers texts state."""

import pytest

from cloud_service.answer.stated_choices import split_list, stated_sets

STATED = {
    "Classify the sentiment of the tweet as positive, negative, or neutral.": ("positive", "negative", "neutral"),
    "Please sort every feedback into Disappointed or Satisfied.": ("Disappointed", "Satisfied"),
    "Sort each support mail into billing, delivery or other.": ("billing", "delivery", "other"),
    "You are a classifier of tone. The labels are bad, good.": ("bad", "good"),
    "text classification, classes = World, Sports": ("World", "Sports"),
    "Labels: spam and ham": ("spam", "ham"),
    "Detect the mood (happy, unhappy).": ("happy", "unhappy"),
    "Use A, B as classes and find the one that fits.": ("A", "B"),
    "From D, B, C, pick the best match for the story.": ("D", "B", "C"),
    "Which of bad, good applies to this text?": ("bad", "good"),
    "mood of this review? happy, unhappy": ("happy", "unhappy"),
    "Is this user post bad or good?": ("bad", "good"),
    "Is the writing formal or informal?": ("formal", "informal"),
    "Read the text. Is it an animal, a plant or a vehicle?": ("animal", "plant", "vehicle"),
    "Detect the language: English, French or German.": ("English", "French", "German"),
    "Is this S, M or L? The limits are 3 and 9 words.": ("S", "M", "L"),
    "Rate the length: S (at most 3 words), M, L (over 9 words).": ("S", "M", "L"),
    "Sort by number of words. S: 5 or fewer. M: up to 9. L: more.": ("S", "M", "L"),
    "Up to 3 -> S, up to 9 -> M, more -> L.": ("S", "M", "L"),
    "Assign the theme: Science or Technology, World, Business or Sports.": (
        "Science or Technology", "World", "Business", "Sports",
    ),
    "Labels: games and matches, companies and markets, world events.": (
        "games and matches", "companies and markets", "world events",
    ),
    "field: triangle, left, baz baz means Sports. left means World.": ("triangle", "left", "baz"),
    "Values: stone, west, tiger stone: BANK. west: HOME.": ("stone", "west", "tiger"),
    "Is the text about science or technology? Answer yes or no.": ("yes", "no"),
    "Answer ok if the review is bad, otherwise skip.": ("ok", "skip"),
    "No when the review is critical, Yes when it is not.": ("No", "Yes"),
    "Check every mail: a complaint -> +, anything else -> -.": ("+", "-"),
    "Say accept to a mail that is short. Say reject to all others.": ("accept", "reject"),
    "Our filter lets through what is short. Mark it 1; mark the rest 0.": ("1", "0"),
    "Decide for the text: y = a good opinion, n = not a good opinion.": ("y", "n"),
    "Output true if the number is prime, false otherwise.": ("true", "false"),
    "question? yes/no": ("yes", "no"),
    "animal/fruit/tool": ("animal", "fruit", "tool"),
    "Reply with 'not urgent' or 'urgent'.": ("not urgent", "urgent"),
    "Categories:\n- billing: money, invoices\n- delivery\n\nAnswer with one.": ("billing", "delivery"),
}  # fmt: skip

OPEN = (
    "Give one of the options, word for word.",
    "Translate to French or German.",
    "Extract the city or country.",
    "Return the name, date and place of the event.",
    "Write a reply. Tone: warm, friendly",
    "Summarize the text in one or two sentences.",
    "Answer as DD/MM/YYYY.",
    "Answer in English or German",
    "Input: a, b, c. Output: a, b and c.",
    "Tags: pick all that apply from a, b, c",
    "Rate the review from 1 to 5.",
    "Decide whether the news is world, sports or science or technology.",
    "Is this email spam or not spam?",
    "Where is the meeting or party?",
    "What is the name of the person or company?",
    "Is the house blue or green, and how old is it?",
    "Summarize. Is the text long or short?",
    "",
)


@pytest.mark.parametrize(("text", "members"), STATED.items())
def test_set_is_found_where_it_is_plain(text: str, members: tuple[str, ...]) -> None:
    first = next(stated for stated in stated_sets(text) if stated.is_plain)
    assert first.members == members


@pytest.mark.parametrize("text", OPEN)
def test_nothing_is_found_where_it_is_not(text: str) -> None:
    assert not [stated for stated in stated_sets(text) if stated.is_plain]


def test_bare_question_needs_an_example_unless_it_is_of_yes_and_no() -> None:
    assert [stated.is_plain for stated in stated_sets("area or address?")] == [False]
    assert [stated.is_plain for stated in stated_sets("good or bad?")] == [True]


def test_list_with_two_conjunctions_in_its_end_is_not_plain() -> None:
    assert split_list("a, b or c or d", and_too=False, commas_too=True) == ()
    assert split_list("a or b or c", and_too=False, commas_too=True) == ("a", "b", "c")
