"""Which closed sets of answers texts state."""

import time
from string import ascii_lowercase

import pytest

from cloud_service.answer.stated.stated_choices import LONGEST_READ, StatedSet, stated_sets

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
    "Is this email spam or not spam?": ("spam", "not spam"),
    "Label each ticket as high, medium or low priority.": ("high", "medium", "low"),
    "True or false?": ("true", "false"),
    "Is this user post bad or good?": ("bad", "good"),
    "Is the writing formal or informal?": ("formal", "informal"),
    "Read the text. Is it an animal, a plant or a vehicle?": ("animal", "plant", "vehicle"),
    "Detect the language: English, French or German.": ("English", "French", "German"),
    "Is this S, M or L? The limits are 3 and 9 words.": ("S", "M", "L"),
    "Rate the length: S (at most 3 words), M, L (over 9 words).": ("S", "M", "L"),
    "Sort by number of words. S: 5 or fewer. M: up to 9. L: more.": ("S", "M", "L"),
    "Up to 3 -> S, up to 9 -> M, more -> L.": ("S", "M", "L"),
    "Assign the theme: Science or Technology, World, Business or Sports.": (
        "Science or Technology",
        "World",
        "Business",
        "Sports",
    ),
    "Labels: games and matches, companies and markets, world events.": (
        "games and matches",
        "companies and markets",
        "world events",
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
    "You are a support router. Classify it into exactly one of these categories: billing, technical, account, other.": (
        "billing",
        "technical",
        "account",
        "other",
    ),
    "Determine the sentiment. Options: [positive, negative, neutral]": ("positive", "negative", "neutral"),
    "Output must be one of {bug, feature, question}.": ("bug", "feature", "question"),
    "Classify the ticket: P1|P2|P3": ("P1", "P2", "P3"),
    "Return true if the comment is toxic, false if it is not.": ("true", "false"),
    "Respond with 'spam' if the mail is unwanted, 'ham' otherwise.": ("spam", "ham"),
    "If the customer is angry, respond with escalate; otherwise respond with archive.": ("escalate", "archive"),
    "Rate the toxicity on a scale of 1 to 3. Reply with the number only.": ("1", "2", "3"),
    "Score the essay: 0, 1, 2 or 3.": ("0", "1", "2", "3"),
    "Answer with A, B, C or D.": ("A", "B", "C", "D"),
    "Read the question and its four options. Reply with a single letter (A, B, C or D).": ("A", "B", "C", "D"),
    "Choose one: refund, exchange, complaint.": ("refund", "exchange", "complaint"),
    "Choose exactly one from: joy, anger, fear, no emotion": ("joy", "anger", "fear", "no emotion"),
    "Select the best match from [sports, politics, tech].": ("sports", "politics", "tech"),
    "Assign the status. Allowed values: to do, in progress, done.": ("to do", "in progress", "done"),
    "Tag the message as one of: greeting, question, statement.": ("greeting", "question", "statement"),
    "Label the sentence as subjective or objective.": ("subjective", "objective"),
    'Your job is to flag reviews. Output either "flag" or "keep".': ("flag", "keep"),
    "Output one word, flag or keep.": ("flag", "keep"),
    "Only answer yes or no.": ("yes", "no"),
    "Is the number even? Answer yes/no.": ("yes", "no"),
    "Does the review mention price? Answer with a simple yes or no.": ("yes", "no"),
    "Does the review mention price? Your reply must be yes or no.": ("yes", "no"),
    "Does the text mention a price? Answer yes, no, or not sure.": ("yes", "no", "not sure"),
    "Does the premise entail the hypothesis? entailment / neutral / contradiction": (
        "entailment",
        "neutral",
        "contradiction",
    ),
    "Fact check. Labels: SUPPORTS, REFUTES, NOT ENOUGH INFO": ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO"),
    "Route the call. Answer with one of these words:\nsales: wants to buy\nsupport: needs help\nbilling: invoices": (
        "sales",
        "support",
        "billing",
    ),
    "Classify into the following categories:\n* Politics\n* Sports\n* Science and Technology\n\nOnly the category.": (
        "Politics",
        "Sports",
        "Science and Technology",
    ),
    "The label is either 'left', 'center' or 'right'.": ("left", "center", "right"),
    "The output should be either Fraud or Not Fraud.": ("Fraud", "Not Fraud"),
    "Predict 0 or 1.": ("0", "1"),
    "Return 1 for spam and 0 for ham.": ("1", "0"),
    "Answer A for agree, B for disagree, C for neutral.": ("A", "B", "C"),
    "Possible answers are 'agree', 'disagree' and 'no opinion'.": ("agree", "disagree", "no opinion"),
    "The only valid answers are agree, disagree and no opinion.": ("agree", "disagree", "no opinion"),
    "There are three categories - small, medium and large. Reply with the category.": ("small", "medium", "large"),
    "Which category fits: food, drink or other?": ("food", "drink", "other"),
    "Which language is this text written in: English, German, or French?": ("English", "German", "French"),
    "Decide between refund and replacement.": ("refund", "replacement"),
    "What is the season? spring, summer, autumn or winter": ("spring", "summer", "autumn", "winter"),
    "Stance detection. Allowed labels: FAVOR, AGAINST, NONE.": ("FAVOR", "AGAINST", "NONE"),
    "Stance detection (FAVOR / AGAINST / NONE)": ("FAVOR", "AGAINST", "NONE"),
    "Map the request to one of the intents book_flight, cancel_flight or flight_status.": (
        "book_flight",
        "cancel_flight",
        "flight_status",
    ),
    "Use only these labels: open, closed, pending.": ("open", "closed", "pending"),
    "You may answer only with: open, closed, pending.": ("open", "closed", "pending"),
    "You only ever say hot or cold.": ("hot", "cold"),
    "Say 'hot' or 'cold' depending on the weather described.": ("hot", "cold"),
    "Print PASS if all checks are green, FAIL otherwise.": ("PASS", "FAIL"),
    "Reply with the single word PASS or the single word FAIL.": ("PASS", "FAIL"),
    "Given a log line, output its level (one of DEBUG, INFO, WARN, ERROR).": ("DEBUG", "INFO", "WARN", "ERROR"),
    "Choose the era the object belongs to: the Stone Age, the Bronze Age, the Iron Age.": (
        "the Stone Age",
        "the Bronze Age",
        "the Iron Age",
    ),
    "Where does it live? One of: on land, in water, in the air.": ("on land", "in water", "in the air"),
    "Options: thank you, sympathy in grief, well done, sorry.": (
        "thank you",
        "sympathy in grief",
        "well done",
        "sorry",
    ),
    "Answer in one word: past, present or future.": ("past", "present", "future"),
    "Answer using only the words past, present, future.": ("past", "present", "future"),
    "Respond only with one of the following: LOW, MEDIUM, HIGH": ("LOW", "MEDIUM", "HIGH"),
    "Set the priority to LOW, MEDIUM or HIGH.": ("LOW", "MEDIUM", "HIGH"),
    "You triage bug reports. Severity levels: blocker, major, minor, trivial. Reply with the level only.": (
        "blocker",
        "major",
        "minor",
        "trivial",
    ),
    "Which team owns this ticket? Teams: frontend, backend, data platform.": ("frontend", "backend", "data platform"),
    "Tell me whether the sentence is active or passive. Just say active or passive.": ("active", "passive"),
    "Choose the correct category (Hardware, Software, Network, Access).": ("Hardware", "Software", "Network", "Access"),
    "Reply T for true statements and F for false statements.": ("T", "F"),
    "Is the user happy? Respond happy, unhappy, or can't tell.": ("happy", "unhappy", "can't tell"),
    "Set priority: high, medium, low.": ("high", "medium", "low"),
    "Emotion detection. Pick exactly one: joy / sadness / anger / fear / surprise": (
        "joy",
        "sadness",
        "anger",
        "fear",
        "surprise",
    ),
    "Give me the part of speech. Allowed: noun, verb, adjective, adverb.": ("noun", "verb", "adjective", "adverb"),
    "Return the sentiment label (POS, NEG or NEU).": ("POS", "NEG", "NEU"),
}

OPEN = (
    "Give one of the options, word for word.",
    "Translate to French or German.",
    "Extract the city or country.",
    "Return the name, date and place of the event.",
    "Write a reply. Tone: warm, friendly",
    "Summarize the text in one or two sentences.",
    "Say in one sentence whether the text is formal or informal.",
    "Describe whether the weather is warm or cold.",
    "Put the verb into past or future tense.",
    "Name the time of year, one of spring, summer, for the northern hemisphere.",
    "Answer as DD/MM/YYYY.",
    "Answer in English or German",
    "Input: a, b, c. Output: a, b and c.",
    "Tags: pick all that apply from a, b, c",
    "Rate the review from 1 to 5.",
    "Decide whether the news is world, sports or science or technology.",
    "Which language is named? Language or unknown.",
    "Group the items: fruit first, then vegetables, then meat.",
    "What is the topic? Two or three words.",
    "Label the picture in five words: who, where, what.",
    "Choose a random word from the sentence: noun, verb or adjective.",
    'Fill this card, one field per line: "name: X", "age: N", "city: Y". The age is in digits.',
    "Where is the meeting or party?",
    "What is the name of the person or company?",
    "Is the house blue or green, and how old is it?",
    "Summarize. Is the text long or short?",
    "Choose the most important sentence of the text, or the first if all are equal.",
    "Use commas, semicolons and dashes where they are needed.",
    "Use simple words, short sentences and no jargon.",
    "Answer questions or complaints from customers.",
    "Answer in English or German, whichever the user writes.",
    "Answer with the capital or the largest city of the country.",
    "Answer with one word or a short phrase.",
    "Reply with a number or none.",
    "Return the first and last name.",
    "Return the colour or material of the object.",
    "Return the year. If there is no year, return unknown.",
    "Say what the person wants, or ask back.",
    "Say it in other words, shorter or simpler.",
    "Write only the verb or verbs.",
    "Write the plural of the noun or the past tense of the verb.",
    "One of the words does not belong. Name it.",
    "Name one of the ingredients, tools or steps of the recipe.",
    "Give one of the synonyms of the word.",
    "Pick one word of the text that sums it up.",
    "Pick the odd word out. Example: apple, pear, car -> car.",
    "Select the words that are nouns, verbs or adjectives and print them.",
    "Extract the options of the command line: name, type, default.",
    "The categories are in the text. Return them as a list.",
    "Remove labels such as Mr, Mrs or Dr from the name.",
    "Convert Celsius or Fahrenheit to Kelvin.",
    "Continue the sequence: red, green, blue, red, green.",
    "What is the capital? Use the local or the English name.",
    "Explain whether the code is safe or unsafe and why.",
    "Describe the picture in terms of colour, shape and size.",
    "Suggest a gift. Options: books, games or something to eat are fine, but be specific.",
    "You are a helpful assistant for booking flights, hotels and cars.",
    "You are a translator. Languages: English, French, German.",
    "Sort the words by length: shortest first or longest first as asked.",
    "Rate the essay and give reasons. Criteria: style, grammar, content.",
    "Count the words, letters or digits.",
    "Pick a number from 1 to 100 and explain it.",
    "Complete the sentence with a or an and the noun.",
    "Replace yes or no by true or false in the text.",
    "List the pros and cons: cheap, fast, reliable.",
    "Address: street, number, city. Return the city.",
    "Split the word into syllables. Use hyphens or dots.",
    "Spell the number. Say oh or zero for 0.",
    "Act as a shop assistant. Offer one of: a discount, a refund or a voucher, with a friendly sentence.",
    "Return the ingredients, one per line.",
    "Write down the name of the author or the publisher.",
    "Say please or thank you where it is polite and rewrite the text.",
    "Pick three adjectives: one for looks, one for character, one for mood.",
    "Answer the riddle. The answer is a plant, animal or household object.",
    "The output should be short and polite.",
    "Your answer is a single number.",
    "Return only digits or dashes.",
    "Print key or value pairs of the input, separated by colons.",
    "Tag every word with noun, verb or adjective, as word/tag.",
    "Sort the words into alphabetical order or by length.",
    "One word: the capital of the country, in English or the local language.",
    "Which animal makes the sound? Examples: cow, dog, cat.",
    "Reply with yes or no and the date.",
    "Reply with yes or no, and the date.",
    "Reply with yes or no and a number.",
    "Reply with yes or no plus a number.",
    "Reply with yes or no with a reason.",
    "Return spam or ham plus the score.",
    "Return spam or ham and its score.",
    "Reply with thanks or an apology.",
    "Reply with name or null.",
    "Options: none. Just repeat the input.",
    "Return the values of the fields name, city and age.",
    "What is the weather like? Use words such as sunny, rainy or cloudy.",
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
    assert all(stated.is_plain for stated in stated_sets("good or bad?"))
    assert next(stated_sets("good or bad?")).members == ("good", "bad")


IN_FORMAT = (
    ("Classify the issue.", "one of {bug, feature, question}", ("bug", "feature", "question")),
    ("How urgent is it?", "1, 2 or 3", ("1", "2", "3")),
    ("What season is it in the text?", "spring | summer | autumn | winter", ("spring", "summer", "autumn", "winter")),
    ("Is it urgent?", "yes or no", ("yes", "no")),
    ("Is it urgent?", '"yes" or "no"', ("yes", "no")),
    ("Is it urgent?", "Only yes or no", ("yes", "no")),
    ("Is it urgent?", "either urgent or can wait", ("urgent", "can wait")),
    ("Classify the sentiment of the review.", "positive, negative, neutral", ("positive", "negative", "neutral")),
    (
        "Classify the sentiment of the review.",
        "a label: positive, negative or neutral",
        ("positive", "negative", "neutral"),
    ),
    (
        "Classify the sentiment of the review.",
        "one label out of positive, negative, neutral",
        ("positive", "negative", "neutral"),
    ),
    ("Classify the sentiment of the review.", "<positive|negative|neutral>", ("positive", "negative", "neutral")),
    ("Who is the speaker?", "customer | agent", ("customer", "agent")),
    (
        "Route the ticket.",
        "exactly one of: sales, technical support, billing",
        ("sales", "technical support", "billing"),
    ),
)

OPEN_FORMATS = (
    ("Extract name and price.", "name, price"),
    ("Who wrote it, and when?", "author, year"),
    ("Where does the event take place?", "city, country"),
    ("Translate the text.", "one of the two languages, in lower case"),
    ("When was it?", "year or date"),
    ("What is the title?", "Title Case, no quotes"),
    ("Summarize the mail.", "short, friendly, no greeting"),
    ("Give the time.", "HH:MM or HH:MM:SS"),
    ("How long does it take?", "hours or minutes, with unit"),
    ("Find the speaker.", "name, role"),
    ("Translate to German.", "formal or informal as in the source"),
    ("Which colours are named?", "red, green, blue"),
    ("Find the sender.", "person or company"),
    ("What is the date?", "YYYY-MM-DD or unknown"),
    ("Assign a label.", "no explanation, only the label"),
    ("Judge the answer.", "verdict, rationale"),
    ("Rate the review.", "score, reason"),
    ("Detect the language of the text.", "language, confidence"),
    ("Tag the product.", "brand, color, size"),
    ("Decide which product is meant.", "brand, model"),
    ("Label the brand and model of the product.", "brand, model"),
    ("Label the parts of the address.", "street, city, zip"),
    ("Sort the words by length.", "apple, banana, cherry"),
    ("Classify the mail.", "category or unknown"),
    ("Rate the essay.", "grade | explanation"),
    ("Tag the sender.", "sender or null"),
    ("Tag the sender.", "person or none"),
)


@pytest.mark.parametrize(("description", "output_format", "members"), IN_FORMAT)
def test_set_is_found_in_the_output_format(description: str, output_format: str, members: tuple[str, ...]) -> None:
    first = next(stated for stated in stated_sets(description, output_format) if stated.is_plain)
    assert first.members == members


@pytest.mark.parametrize(("description", "output_format"), OPEN_FORMATS)
def test_format_of_a_value_or_of_fields_is_no_set(description: str, output_format: str) -> None:
    assert not [stated for stated in stated_sets(description, output_format) if stated.is_plain]


def test_format_with_commas_alone_needs_an_example_or_a_task_that_sorts() -> None:
    assert StatedSet(("date", "place"), False) in stated_sets("When and where is it?", "date, place")
    assert StatedSet(("angry", "calm"), False) in stated_sets("The mood?", "angry, calm")
    assert StatedSet(("angry", "calm"), True) in stated_sets("Classify the mood.", "angry, calm")
    assert StatedSet(("news", "ads"), False) in stated_sets("Classify the mail.", "news, ads")
    assert StatedSet(("news", "ads"), True) in stated_sets("Classify the mail: is it ads or news?", "news, ads")


def test_answer_for_what_no_label_fits_belongs_to_the_set() -> None:
    for rule in ("If unsure, answer unknown.", "Write unknown if neither fits.", "Not said = unknown."):
        assert next(stated_sets(f"Labels: red, blue. {rule}")).members == ("red", "blue", "unknown")
    assert next(stated_sets("Labels: red, unknown. If unsure, answer unknown.")).members == ("red", "unknown")


def test_characters_that_stand_for_quotations_are_no_labels() -> None:
    assert [stated.members for stated in stated_sets("Labels: \ue005, ham, \uf8ff")] == []
    assert next(stated_sets("Labels: 'not spam', ham \ue000")).members == ("not spam", "ham")


HOSTILE = (
    "a, ", "a or ", "say a ", "Labels: a, b ", "one of: a, ", "single letter ", "is this a ", "say a if b, ",
    "a for b, ", "a = b, ", "a -> b, ", "(a) ", "which kind of x ", "choose the best ", "from ", "'a' ", "\n- a: b",
    "a: b\n", "( ", "[", "/ ", "whether the a ", "score from 1 to 5 ", "a b c d e ", "to the ", " ", "\n",
    "If a, say b, ", "say A if b, ", "a (B), ", "| a | b |\n", "A means b, ", "is either a, ", "🟢 ", "gib a ",
)  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_time_is_bounded_whatever_repeats(part: str) -> None:
    text = (part * LONGEST_READ)[: LONGEST_READ * 5]
    started = time.process_time()
    list(stated_sets(text, text))
    assert time.process_time() - started < 3.0  # a second at most was measured


def test_time_is_bounded_for_many_different_cases() -> None:
    words = [first + second for first in ascii_lowercase for second in ascii_lowercase]
    text = "".join(f"say {word}g if if, else {word}h. " for word in words)[:LONGEST_READ]
    list(stated_sets("a", "b"))  # compiles the expressions
    started = time.process_time()
    sets = list(stated_sets(text, text[: LONGEST_READ // 2]))
    assert time.process_time() - started < 1.0
    assert sets[0].members == ("aag", "aah")
    rests = "".join(f"if {word}, say unknown. labels: {word}g, {word}h. " for word in words)[:LONGEST_READ]
    started = time.process_time()
    list(stated_sets(rests, rests[: LONGEST_READ // 2]))
    assert time.process_time() - started < 1.0
