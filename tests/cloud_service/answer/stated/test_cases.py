"""Sets that are stated case after case."""

import pytest

from cloud_service.answer.stated.cases import MOST_CASES, chained_sets


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("Answer UP if it rose, DOWN if it fell, and FLAT if neither.", ("UP", "DOWN", "FLAT")),
        ("Write hot when it is spicy, mild when it is a little spicy and bland otherwise.", ("hot", "mild", "bland")),
        ("Reply with WIN if we won, LOSS if we lost, or DRAW in any other case.", ("WIN", "LOSS", "DRAW")),
        ("If it praises write good, if it complains write bad, otherwise write neutral.", ("good", "bad", "neutral")),
        ("When it is raw, say cook. When it is burnt, say bin. Otherwise say eat.", ("cook", "bin", "eat")),
        ("Return spam for advertising or fraud. Anything else is ham.", ("spam", "ham")),
        ("Say urgent if it is due today. All others are normal.", ("urgent", "normal")),
        ("Give accept for complete forms. If a field is missing, give reject.", ("accept", "reject")),
        ("Mark a sentence as claim when it can be checked. Everything else counts as opinion.", ("claim", "opinion")),
        ("Output sick for an illness. Any other message is other.", ("sick", "other")),
        ("Print GO for green, WAIT for yellow and STOP for red.", ("GO", "WAIT", "STOP")),
        ("Answer A for agree, B for disagree, C for neutral.", ("A", "B", "C")),
        ("Return 1 for spam and 0 for ham.", ("1", "0")),
        ("If it is long, say cut; otherwise say keep.", ("cut", "keep")),
        ("Up to 3 -> S, up to 9 -> M, more -> L.", ("S", "M", "L")),
        ("fixed if it is ==, free if there is no version at all, ranged otherwise.", ("fixed", "free", "ranged")),
        ("No when the review is critical, Yes when it is not.", ("No", "Yes")),
        ("We keep what is short. Mark it 1; mark the rest 0.", ("1", "0")),
        ("Decide: y = a good opinion, n = not a good opinion.", ("y", "n")),
        ("Use A when it is about food. Use B when it is about something else in the text.", ("A", "B")),
        ("Give the level: L1 for a question, L2 for a fault, L3 for an outage.", ("L1", "L2", "L3")),
    ],
)
def test_cases_that_follow_each_other_make_a_set(text: str, members: tuple[str, ...]) -> None:
    assert next(chained_sets(text)) == members


@pytest.mark.parametrize(
    "text",
    [
        "Say yes if the text is about food and drink for children.",
        "Use fip for dog and mol for cat in the sentence.",
        "Write the word in capitals if it is a name, otherwise write it in small letters.",
        "Say thanks if the guest praises us, and apologise if the guest complains.",
        "Return the time for flights. Everything else is left out.",
        "Reply stop if it is late, go if it is early, the time in both cases.",
        "Return the year, or none if there is no year.",
        "late if it is past ten, early otherwise",
        "If the input is a number, return its double. If it is a word, return its length.",
    ],
)
def test_other_conditions_make_none(text: str) -> None:
    assert not list(chained_sets(text))


def test_words_of_a_condition_are_no_labels() -> None:
    assert list(chained_sets("Reply YES if it is about food, drink for children or toys, NO otherwise.")) == [
        ("YES", "NO")
    ]


def test_cases_that_are_read_are_bounded() -> None:
    assert (
        len(next(chained_sets("Say " + ", ".join(f"A{n} if it is {n}" for n in range(3 * MOST_CASES))))) <= MOST_CASES
    )
