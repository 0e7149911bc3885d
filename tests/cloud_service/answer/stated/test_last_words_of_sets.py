"""Labels with words that elsewhere end a list, begin a command, or say how to write; and texts near to them."""

import pytest

from cloud_service.answer.contract import find_answer
from cloud_service.answer.stated.stated_choices import stated_sets
from cloud_service.task import Example, TaskDescription

STATED = {
    "Choose from doesn't_fit, fits.": ("doesn't_fit", "fits"),
    "Answer does not fit or fits.": ("does not fit", "fits"),
    "Answer with fits or doesn't fit.": ("fits", "doesn't fit"),
    "Pick one: unwell, exhausted, fit.": ("unwell", "exhausted", "fit"),
    "Answer good or bad only.": ("good", "bad"),
    "Labels: good, bad only.": ("good", "bad"),
    "Write only ONE SIDE ONLY or BOTH SIDES.": ("ONE SIDE ONLY", "BOTH SIDES"),
    "Answer INCREASE or REPORT ONLY.": ("INCREASE", "REPORT ONLY"),
    "Answer with AS IS or HEAT FIRST.": ("AS IS", "HEAT FIRST"),
    "Write only IT, accounts or medical.": ("IT", "accounts", "medical"),
    "Pick one: leave it, take it.": ("leave it", "take it"),
    "Use the tags small talk, give and take, stating demands.": ("small talk", "give and take", "stating demands"),
    "Write only bring food, nothing or money back.": ("bring food", "nothing", "money back"),
    "Rate the note. Labels: accept, rewrite.": ("accept", "rewrite"),
    "The labels are accept, rewrite, discuss.": ("accept", "rewrite", "discuss"),
    "Answer with about food or about something else.": ("about food", "about something else"),
    "Where is it? Your answer is in a house or in the open air.": ("in a house", "in the open air"),
    "Say after landing, before take-off or in the air.": ("after landing", "before take-off", "in the air"),
    "Choose from before the main clause, after the main clause.": ("before the main clause", "after the main clause"),
    "Answer at fault or not at fault only.": ("at fault", "not at fault"),
    "One of listener, one of us, organiser.": ("listener", "one of us", "organiser"),
    "Reply the one who delivers, the one who pays or both sides, nothing else.": (
        "the one who delivers",
        "the one who pays",
        "both sides",
    ),
    "One word: less of it, only tell or more of it.": ("less of it", "only tell", "more of it"),
    "One of: good points, only bad points, only good points.": ("good points", "only bad points", "only good points"),
    "Pick one: reason given, no reason.": ("reason given", "no reason"),
    "Possible answers: objection, nice words.": ("objection", "nice words"),
    "Say .sh, .py or .js.": (".sh", ".py", ".js"),
    "One of p.m., a.m..": ("p.m.", "a.m."),
    "Answer with a.m. or p.m.": ("a.m.", "p.m."),
    "Length of the text to be translated. Say medium, short or long.": ("medium", "short", "long"),
    "Say what fare it is. Half: up to 18. Full: otherwise. Options: half, full.": ("half", "full"),
    "B1 = dark, B2 = loud, B3 = smelly. The labels are B1, B2, B3.": ("B1", "B2", "B3"),
    "Possible answers: red, blue. red = other authority. blue = ours.": ("red", "blue"),
    "Possible answers: B, C. Use B when it is fond. Use C when it is put off.": ("B", "C"),
}

STATED_IN_FORMAT = (
    ("Would you?", "listener, one of us or concert organiser", ("listener", "one of us", "concert organiser")),
    ("Decide where it belongs.", "about food or about something else", ("about food", "about something else")),
    ("Teacher's check of a sentence", "acceptable, unacceptable", ("acceptable", "unacceptable")),
    ("A statement and a case.", "doesn't fit, fits", ("doesn't fit", "fits")),
    ("Check the statement with the numbers.", "false, true", ("false", "true")),
    ("How sure is the witness?", "high, medium, low", ("high", "medium", "low")),
    ("How is it told?", "THE ONE WAY or BOTH WAYS", ()),
)

# A label may be or end with a word that elsewhere belongs to the sentence: `that fits`, `only`, `give it`.
OPEN = {
    "a tail that is a label": """
        Find a word that fits or does not fit the rhyme and write it down.
        Fill the gap with a word that fits.
        Write a caption that fits the picture.
        Which word fits? Write the whole sentence.
        Choose the word that fits best and write the sentence with it.
        Name what does not fit.
        Name the word that does not fit the others.
        Say why it fits or does not fit.
        Write the title only.
        Return the name or title only.
        Return the city or country only.
        Reply in German or English only.
        Write one or two words only.
        Give the first or last name only.
        Answer in one word or a short phrase only.
        Say what to do: leave it, take it, or sell it, and why.
        Write a reply that offers to take it or leave it.
        Suggest a price, take it or leave it.
        Name a give and take between the two.
        Write two lines of give and take.
        Return the noun, give or take an article.
        Round the number, give or take one.
        Extract the amount, give the currency or a dash.
        Return the sum, write the unit or leave it out.
        Reply politely, answer or ask back.
        Correct the sentence, choose the tense or leave it.
        Write the word, nothing or a dash.
        Return the price, nothing else or more.
        Rewrite the text, pick words or phrases that are simple.
        Find the error, or say nothing or correct it.
        Describe the person, say the age or guess it.
        Reply with the date, never or with a time.
    """,
    "a command that is a label": """
        Labels are printed on the box. Rewrite the text on them.
        You get labels: accept them, rewrite them.
        Check the text, rewrite it.
        Check the labels, rewrite the wrong ones.
        Read the mail, draft a reply.
        Read the options: a, b or c, and explain your choice.
        Options: short or long. Rewrite the text accordingly.
        Labels: short, long. Then rewrite the text.
        Tags: fun, food. Suggest a title.
        Topic: sport, music. Compose a song.
        Tone: warm, friendly. Draft a mail.
        Choose the tone: formal, casual. Rewrite the mail in it.
        Values: 1, 2, 3. Generate the next ones.
        Categories: food, drink. Suggest a recipe.
        Categories: food, drink. Recommend a dish of one.
        Pick one: a city, a river. Explain it to a child.
        Options: books, games. Recommend one by its title.
        Answers: yes, no. Explain the answer.
        Choose from the text a word, explain it.
        Choose from these words: sun, moon. Compose a poem.
        Steps: read, extract, rewrite.
        Do the following: read, rewrite, explain.
        Your job: read the mail, extract the date, rewrite it.
        Tasks: summarize, translate, rewrite.
        Responses: accept or decline, explain why.
        Labels: a, b, explain the choice.
        Labels: a, b, rewrite the text.
        Labels: accept, rewrite the text.
        Verdicts: accept, rewrite. Rewrite the text if needed.
        Pick one: shorten, expand. Rewrite the text accordingly.
        Options: translate, explain. Translate the text to French.
        Options: rewrite, translate. Do what the user wants.
        Pick one: rewrite, shorten. Do it.
    """,
    "JSON as a label": """
        Answer with JSON or XML.
        Return JSON or CSV.
        Return JSON, XML or YAML.
        Convert the table. Output JSON or CSV.
        Convert the text to one of: JSON, XML, YAML.
        Choose from JSON, XML and YAML and convert the table.
        Formats: JSON, XML.
        Output formats: JSON, XML, CSV.
        Options: JSON, CSV. Convert the table to the one that the user names.
        Detect the language and answer in JSON or XML.
        Identify the speaker. Answer with JSON.
        Identify the speaker. Options: JSON, plain text.
        Identify the sender, the date and the topic. Return one of: JSON, XML.
        Classify the mail. Return JSON: label, score.
        Classify the mail. Labels: spam, ham. Return JSON.
        Classify the mail. Labels: spam, ham. JSON, please.
        Which format does the user want? Convert it to JSON, XML or YAML.
        Use JSON, XML or CSV for the answer.
        Write JSON, not XML.
        Write JSON or XML.
        Print JSON only.
        Reply with JSON, XML or nothing.
        Extract the fields: name, JSON, XML.
        Recognise the names in the text. Return JSON or CSV.
        What is in the file? Answer JSON or text.
        Make the data valid: JSON, XML or YAML as it is given.
        Which of the keys is missing? Answer with JSON or XML.
        Turn the log line into JSON or CSV.
        Parse the text. Pick one: JSON, XML.
        Say it as JSON or YAML.
    """,
    "labels with prepositions": """
        Answer in English or in German.
        Answer in words or in numbers.
        Answer in one word or in one sentence.
        Reply in French or in Spanish.
        Write in prose or in verse.
        Where was he born? Answer in English or in German.
        Where was he born? Your answer is in English or in German.
        Your answer is in English or in German.
        Your answer is in words or in figures.
        The answer is in the text or in the title.
        The answer is in one of the lists or in the table.
        The answer is at the end or at the beginning of the text.
        Answer with care or with love.
        Answer with the name or with the title.
        Answer with about ten words.
        Answer with about ten or about twenty words.
        Answer with in-depth knowledge or with a guess.
        Answer from the text or from memory.
        Answer from the text or not at all.
        Reply to the mail or to the letter.
        Reply by mail or by phone.
        Answer by return or by Friday.
        Write about food or about music.
        Write about food or about something else.
        Say something about food or about the weather.
        Talk about cats or about dogs.
        Return with a number or with a name.
        Say in a word or in a phrase where it is.
        Where is it? Say in a phrase or in a sentence.
        When is it? Reply in hours or in minutes.
        Reply at length or at least in a sentence.
        Reply on behalf of the shop or on behalf of the user.
    """,
    "capitals": """
        Answer in UPPER CASE or in LOWER CASE.
        Answer in UPPER CASE.
        Write NAME or AGE of the person.
        Return the CITY or the COUNTRY.
        Write NAME, AGE and CITY.
        Return YYYY-MM-DD or DD.MM.YYYY.
        Return HH:MM or MM:SS.
        Write SQL or HTML as asked.
        DO NOT write words. Write THE NAME or a dash.
        REPLY WITH ONE WORD OR ONE SENTENCE.
        REPLY IN ENGLISH OR GERMAN.
        ANSWER THE QUESTION IN ENGLISH OR IN GERMAN.
        TRANSLATE TO FRENCH OR GERMAN.
        WRITE THE NAME OR THE DATE.
        RETURN THE NAME OR THE CITY.
        ANSWER WITH A NUMBER OR A WORD.
        ANSWER IN ONE OR TWO WORDS.
        SAY THE NAME OR THE TITLE OF THE BOOK.
        RETURN THE FIRST OR LAST NAME.
        RETURN ONLY DIGITS OR DASHES.
        WRITE THE PLURAL OR THE SINGULAR OF THE NOUN.
        EXTRACT THE CITY OR COUNTRY.
        REPLY WITH THANKS OR AN APOLOGY.
        GIVE ONE OF THE SYNONYMS.
        PICK ONE WORD OF THE TEXT THAT SUMS IT UP.
        ANSWER THE RIDDLE. THE ANSWER IS A PLANT, ANIMAL OR OBJECT.
        Return THE NAME OR THE TITLE, in capitals.
        Return TODAY'S DATE OR THE DATE OF THE MAIL.
        Write THE END or THE BEGINNING of the story.
        Fill in: NAME or TITLE, then the text.
    """,
    "parts of labels that repeat": """
        Return the one who wins or the one who loses by name.
        Name the one who pays, the one who delivers or both.
        Name the one who pays or the one who delivers.
        Say who pays, who delivers or who signs.
        Say the one who called or wrote.
        Return the person who called, the person who wrote or a dash.
        Write the word which is wrong or the word which is missing.
        Answer the one who asks.
        Reply to the one who pays or the one who delivers.
        Return only the name, only once.
        Return the label, only lower case, only one word.
        Return only the city or only the country.
        Write only nouns, only verbs or only adjectives.
        Print only names, only dates or only sums, as asked.
        No reason, no comment.
        Just the word, no reason, no comment.
        Only the word: no reason, no quotes.
        Give the reason or no reason if there is none.
        State a reason or no reason at all.
        Return the text without comment or no text.
        Return the sentence or no sentence.
        Write the explanation or no explanation as needed.
        Write words, no sentences.
        Write numbers or words, no sentences.
        Return a list, no text, no comment.
        Reply with a word or no word.
        Say which, as well as which not.
        Write as short as possible or as long as needed.
        Answer as the customer, as the agent or as the manager.
    """,
    "points in labels": """
        Return the time, such as 9 a.m. or 5 p.m.
        Write the time with a.m. or p.m. behind it.
        Convert the time from a.m. or p.m. to 24 hours.
        Add a.m. or p.m. to the time.
        Write a.m. or p.m. after the hour.
        Return the hour and a.m. or p.m.
        Use U.S. or U.K. spelling.
        Rewrite in U.S. or U.K. English.
        Answer with a unit, e.g. kg or m.
        Answer with a unit, i.e. kg or m.
        Return the version, 1.0 or 2.0 for instance.
        Return the file name with .py or .js.
        Add .py or .js to the name.
        Rename the file to .py or .js as fits.
        Print numbers with a point: 1.5 or 2.5 for example.
        Return the price as 1.50 or 2.00.
        Round to 0.5 or 1.0 steps.
        Write the name as J. R. Smith or J.R. Smith.
        Return the name of the file, .txt or .pdf.
        Extract the address of the page (.com, .org).
        Name pages that end in .com, .org or .net.
        Convert the file to .pdf or .docx.
        Write Mr. or Mrs. before the name.
        Write the name with Mr. or Mrs.
        Return the address with St. or Ave.
        Abbreviate with a point: etc., approx., max.
        Say No. 1 or No. 2 before the title.
        If it is 38.0 or more, write 'Call the doctor to bed', the bed's number and a full stop.
        release/2.4
        papershop.de/cart
        Desk lamp Mira: height 45 cm, LED 7 W, cable 1.8 m, colour white, art. DL-45-W
        Use a.s.a.p. or soon in the reply.
        Write a.m. or p.m. in front of the hour.
        Give the hour, a.m. or p.m.
        At 9 a.m. or 5 p.m. they meet, say where.
        Give the date as Jan. 1 or Feb. 1.
    """,
    "words of an answer's form": """
        Possible answers: two words, three words.
        Answer with nice words or a smile.
        Answers: short sentences, simple words.
        Answers: short words or simple sentences.
        Identify the topic: two or three words.
        Describe the tone: one or two words.
        Use the labels in your own words.
        Choose one: few words, many words. Write the text so.
        Reply with kind words or short sentences.
        Options: full sentences or single words.
        Reply with one of: one word, two words.
        Answer with lower case letters or capital letters.
        Answer with 5 letters or 6 letters.
        One word: five letters, four letters or three letters.
        Output: two sentences, one line.
        Output: up to ten words or one line.
        Answers: three lines, five lines.
        Reply with a few words or some lines.
        Return the first letters or last letters.
        Return the key words or main words.
        Give nice words, nice sentences.
        Write rude words or nice words with stars.
        List words or lines of the text.
        Values: numbers, key words. Extract them.
        Say magic words or nice words.
        Say the missing words or the missing lines.
        Write down the first words or last words.
        Print long words or short words of the text.
        Return rhyming words or similar words.
    """,
    "translated texts": """
        The text is translated into French or German.
        Return the text translated into French or German.
        Say it translated to French or Italian.
        Sort the texts to be translated and translate them.
        A text is to be translated. Translate it: French or German.
        How would it be translated to French or German?
        You translate. Languages: French, German.
        Your job is to translate. Languages: French, German.
        We translate mails. Choose from French, German.
        Please translate: French or German.
        It has to be translated. Answer with French or German text.
        The mail must be translated, and you translate it to French or German.
        You help translators. Translate to French or German.
        Translation into French or German.
        Translating mails to French or German.
        Translate what is not translated. Labels: French, German.
        Say how it is translated in French or in German.
        Write the translated title or name.
        Return the translated or the original title.
        Give the translated text or the source.
        Print the word that is translated wrong.
        Name the words to be translated.
        Extract words to be translated or explained.
        A list of words to be translated. Return French or German words.
        Texts are translated by you. Use French or German.
        Should it be translated? Then translate it.
        Is it translated well? Name the faults.
        Which word is translated wrong or left out?
        Answer in the language that it is translated from or into.
        Find out what is to be translated and how.
    """,
    "what a member of a set is called": """
        Name one of us or one of them.
        Name one of us.
        Write to one of us or to all.
        Return one of them or none.
        Choose one of them, explain it.
        Say one of your names or titles.
        Tell one of us the date or time.
        Reply as one of us or as a guest.
        Pick one of his books or films.
        Pick one of her songs, albums.
        Name one of our streets, squares.
        Name one of their songs or albums.
        Suggest one of my recipes, dishes.
        Give one of your tips, tricks.
        Write one of its names, titles.
        Recommend one of our books, films.
        Write a note to one of you, or both.
        Ask one of us for help or advice.
        Imagine you are one of us, a guest or a host.
        You are one of us, a friend, a helper.
        Be one of us, kind, patient.
        Use one of mine, yours.
        Any one of us can help, write or call.
        Reply to one of us, quick, short.
        Tell exactly one of them, one of us.
        Only one of us knows, say who.
        Send it to one of us, him or her.
        Describe one of us, old or young.
        The text is by one of us, name the author.
        It is for one of you, guess who.
    """,
}


OPEN_FORMATS = """
    Count the invoices. | paid, unpaid
    How many invoices are there of each kind? | paid, unpaid
    How many of the words are known? | known, unknown
    List the words of each kind. | known, unknown
    Split the invoices. | paid, unpaid
    Separate the words. | known, unknown
    Group the invoices by their state. | paid, unpaid
    Give both forms of the noun. | singular, plural
    Form the tenses of the verb. | past, present, future
    Give all degrees of the adjective. | good, better, best
    Give each degree. | good, better, best
    Find the sums. | taxed, untaxed
    Extract the totals. | taxed, untaxed
    Return the number of votes. | valid, invalid
    State the amounts. | taxed, untaxed
    Write the columns of the table. | solved, unsolved
    What is the sum of the invoices? | paid, unpaid
    Name the opposite, too. | happy, unhappy
    Write the word and its opposite. | happy, unhappy
    Translate the words. | happy, unhappy
    Derive the words from the root. | able, unable
    Write a pair of words. | able, unable
    How long is the film? | hours, minutes
    How old is the house? | year, decade
    How big is the room? | width, length
    How good is it in each respect? | taste, look
    How is the weather now and later? | today, tomorrow
    How warm is it in the two rooms? | kitchen, bath
    How do the two teams play? | home, guest
    How are the singers called? | soprano, alto, bass
    How did the vote end? | for, against, absent
    The two forms of the plug? | port, import
    Which words are hidden in it? | come, income
    What stands in the card? | name, title, born
    What does it consist of? | wood, iron
"""


@pytest.mark.parametrize(("text", "members"), STATED.items())
def test_label_keeps_its_words(text: str, members: tuple[str, ...]) -> None:
    assert next(stated.members for stated in stated_sets(text) if stated.is_plain) == members


@pytest.mark.parametrize(("description", "output_format", "members"), STATED_IN_FORMAT)
def test_label_of_a_format_keeps_its_words(description: str, output_format: str, members: tuple[str, ...]) -> None:
    found = (stated.members for stated in stated_sets(description, output_format) if stated.is_plain)
    assert next(found, ()) == members


def test_last_word_of_long_labels_may_be_theirs_which_an_example_tells() -> None:
    text = "Pick one: act, leave to others, read only."
    assert not [stated for stated in stated_sets(text) if stated.is_plain]
    for label, last in (("read only", "read only"), ("read", "read")):
        task = TaskDescription(text, (Example("For your files.", label),))
        assert find_answer(task).choices == ("act", "leave to others", last)


def test_json_is_a_label_where_the_format_of_the_input_is_asked_for() -> None:
    for text in (
        "Recognise the file format. Pick one: JSON, Markdown, SQL.",
        "Which notation is it? Answer JSON, Markdown or SQL.",
    ):
        assert find_answer(TaskDescription(text)).choices == ("JSON", "Markdown", "SQL")


def _lines(texts: str) -> list[str]:
    return [line.strip() for line in texts.strip().splitlines()]


@pytest.mark.parametrize("text", [line for texts in OPEN.values() for line in _lines(texts)])
def test_text_near_to_a_set_is_no_set(text: str) -> None:
    assert find_answer(TaskDescription(text)).kind != "choice"


@pytest.mark.parametrize("text", _lines(OPEN_FORMATS))
def test_format_near_to_a_set_is_no_set(text: str) -> None:
    description, _, output_format = text.partition(" | ")
    assert find_answer(TaskDescription(description, output_format=output_format)).kind != "choice"
