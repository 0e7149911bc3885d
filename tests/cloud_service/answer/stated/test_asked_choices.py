"""Closed sets that sentences ask for without a noun that announces them."""

import time

import pytest

from cloud_service.answer.stated.asked_choices import asked_sets
from cloud_service.answer.stated.stated_choices import stated_sets
from cloud_service.answer.stated.task_sentences import LONGEST_SENTENCE

ASKED = {
    "Does the customer want a refund or a replacement?": "refund|replacement",
    "Does he sound angry, calm or bored?": "angry|calm|bored",
    "Is the request a bug or a feature request?": "bug|feature request",
    "Please forward each letter to the press office, the mayor or the archive.": "press office|mayor|archive",
    "For each sentence, say whether it is literal or figurative.": "literal|figurative",
    "You triage tickets for a hosting company. Label each ticket high, medium or low priority.": "high|medium|low",
    "Route the mail to billing, technical or sales.": "billing|technical|sales",
    "Tell me whether the customer is happy or unhappy with the product.": "happy|unhappy",
    "Is the sentence a fact or an opinion?": "fact|opinion",
    "Is this review positive or negative?": "positive|negative",
    "Is the number even or odd": "even|odd",
    "Say if the text is formal or informal.": "formal|informal",
    "Determine whether the animal is a mammal, a bird or a fish.": "mammal|bird|fish",
    "Mark the comment as toxic or clean.": "toxic|clean",
    "Sort mails into work, family and spam.": "work|family|spam",
    "Assign each request to HR, IT or Finance.": "HR|IT|Finance",
    "Send the ticket to the right team: network, hardware, accounts.": "network|hardware|accounts",
    "Rate the urgency low, medium or high.": "low|medium|high",
    "Does the writer agree, disagree or neither?": "agree|disagree|neither",
    "Which is it, a question or a statement?": "question|statement",
    "urgent or not urgent?": "urgent|not urgent",
    "happy, sad or angry?": "happy|sad|angry",
    "Detect sarcasm: sarcastic or sincere.": "sarcastic|sincere",
    "Flag the message: safe/unsafe": "safe|unsafe",
    "Classify by emotion (joy, anger, fear).": "joy|anger|fear",
    "Respond true if the statement is correct and false if not.": "true|false",
    "0 = negative, 1 = positive": "0|1",
    "Forward to legal, press or support as fits.": "legal|press|support",
    "Is the applicant eligible? (yes, no or unclear)": "yes|no|unclear",
    "You help a bank. Mark every transaction as normal or suspicious.": "normal|suspicious",
    "Decide whether the question is easy, medium or hard.": "easy|medium|hard",
    "Forward each complaint to kitchen, service or management.": "kitchen|service|management",
    "Is the animal in the text wild or tame?": "wild|tame",
    "Rate the risk as low, moderate or high.": "low|moderate|high",
    "Does the reviewer like or dislike the film?": "like|dislike",
    "Tell me if the water is hot or cold.": "hot|cold",
    "true or false?": "true|false",
    "positive, negative or neutral?": "positive|negative|neutral",
    "Assign every student essay to beginner, intermediate or advanced.": "beginner|intermediate|advanced",
    "Send it to the correct department: cardiology, oncology, surgery.": "cardiology|oncology|surgery",
    "Is this person male or female?": "male|female",
    "Determine if the review is genuine or fake.": "genuine|fake",
    "Was the experience good or bad?": "good|bad",
    "Detect the mood of the song: cheerful, gloomy or calm.": "cheerful|gloomy|calm",
    "Classify the news into politics, sport, culture or business.": "politics|sport|culture|business",
    "1 = spam, 0 = not spam": "1|0",
    "Is the patient in pain? yes, no or unknown": "yes|no|unknown",
    "You read messages of a dating app. Does the writer sound interested or bored?": "interested|bored",
    "Say which it is: fruit or vegetable.": "fruit|vegetable",
    "Tag each issue minor, major or critical.": "minor|major|critical",
    "Is the comment constructive or not constructive?": "constructive|not constructive",
    "Pass each claim to motor, home or travel.": "motor|home|travel",
    "Check whether the password is weak or strong.": "weak|strong",
    "Put each song into rock, pop or jazz.": "rock|pop|jazz",
    "Separate the mails into spam and ham.": "spam|ham",
    "Sort emails into work and private.": "work|private",
    "Is the dish vegan or not vegan?": "vegan|not vegan",
    "Label the claim true, false or unknown.": "true|false|unknown",
    "Direct every question to sales, support or the lab.": "sales|support|lab",
    "Is the recipe sweet or savoury?": "sweet|savoury",
    "Find out whether the sender is a student or a teacher.": "student|teacher",
    "friendly or unfriendly?": "friendly|unfriendly",
    "Is the user new or returning?": "new|returning",
    "Assign the note to mathematics, physics or chemistry.": "mathematics|physics|chemistry",
    "Which is it? Fact or opinion?": "fact|opinion",
    "Is the commit a bugfix, a feature or a refactoring?": "bugfix|feature|refactoring",
    "Mark each answer right or wrong.": "right|wrong",
    "Judge if the proof is complete or incomplete.": "complete|incomplete",
}

POLAR = (
    "Is the caller angry? yes/no",
    "Does the text mention a price? Answer yes/no.",
    "Does the message talk about food?",
    "Is the customer angry?",
    "Check whether the text contains a date.",
    "You moderate a forum. Is the post offensive?",
    "Check if the sentence is a question.",
    "Is the statement about an animal?",
    "Determine whether the message is urgent.",
    "Was the flight delayed?",
    "The input is a pair of names. Are they the same person?",
    "Should the mail be escalated?",
    "Is the weather described as sunny?",
    "Is the plural formed correctly?",
    "Predict whether the stock goes up.",
    "Is that a threat?",
    "Tell me if the email is from a bank.",
)

OPEN = (
    "Move it to the left or right by n characters.",
    "Transfer to French or Italian.",
    "Does the user want a refund or a replacement? Write the answer mail.",
    "Decide if the sentence needs a comma or a colon and insert it.",
    "Which one is right, its or it's? Write the sentence.",
    "You are a tutor. Can the student solve it? Give a hint.",
    "Sort them into order: small, medium, large.",
    "Translate to French or German",
    "Convert miles or feet to metres",
    "Send a reply to the customer or the shop",
    "Rewrite it so that it is polite or formal",
    "Can you rewrite this?",
    "Would you summarize it?",
    "Can this be said more politely?",
    "Is there a better word for this?",
    "Does the word have a synonym?",
    "Does the text mention a price? If so, which one?",
    "Check whether the text contains errors and correct them.",
    "Tell me if anything is missing.",
    "Tell me whether the author prefers cats or dogs and why.",
    "Does the text mention cats or dogs?",
    "Is there a name or an address in the text?",
    "Fix the grammar. Is it correct now?",
    "Rate the food quality or service in a sentence.",
    "Mark the nouns and verbs.",
    "Tag people or places in the text.",
    "Sort the words into alphabetical order or by length.",
    "Sort the numbers: low to high or high to low.",
    "Send a message to sales or support that explains the problem.",
    "Put the verb into past or future tense.",
    "Assign a nickname or title to the person.",
    "Move the comma to the start or end.",
    "Separate each address into street, city and zip.",
    "Separate each address into street, city, zip.",
    "Separate every date into day, month and year.",
    "Divide each text into title and body.",
    "Sort the feedback into pros and cons.",
    "Sort the reviews into pros and cons.",
    "Separate the notes into decisions and action items.",
    "Group each request into summary, details and next steps.",
    "Put each item into a table or list.",
    "Transfer the text to British or American English.",
    "Transfer the text to prose or verse.",
    "Assign each text to British or American English.",
    "Move every sentence to past or future tense.",
    "Check whether the sentence is correct, and correct it.",
    "Check whether the sentence is wrong, and mend it.",
    "Is this a question? Then answer it.",
    "Say hello or goodbye in the language of the text.",
    "Explain in one sentence whether the claim is true or false.",
    "If the text is formal or polite, make it casual.",
    "Which city or country is meant?",
    "Which is the capital, and which is the largest city or town?",
    "Remove the first or last word.",
    "Answer the question in one or two words.",
    "Change singular to plural or plural to singular.",
    "Give the opposite: hot or cold, big or small.",
    "Forward the text to a friend, in a warm or funny tone.",
    "x = width, y = height",
    "Name of the person or company",
    "first name or last name?",
    "How many cats or dogs are there?",
    "Do the sum or the product as told.",
    "Are there any names in the text? List them.",
    "Does this make sense? Explain.",
    "Describe whether the weather is warm or cold.",
    "Imagine you are a wizard. Is magic real?  Answer with a story.",
    "You are a poet. Should the line rhyme? Continue it.",
    "Judge the dish: taste, look, price.",
    "Classify the words by length (short words first, then long ones).",
    "Will the text fit? Shorten it to 50 characters or less.",
    "Pass the message to the reader as a poem or a song.",
    "Hand the ball to him or her: fill in the pronoun.",
    "Is the author known? Name him or her.",
    "Forward the greeting to the family in a short or long note.",
    "Which word is a verb or an adverb?",
    "Mark the first or last letter.",
    "Rate the film and name a good or bad scene.",
    "Say whether to turn left or right and how far.",
    "Would a shorter title be better? Propose one.",
    "Have the text end with a question.",
    "Does anybody know the answer? What is it?",
    "Assign a number to each line.",
    "Put the text into Markdown or HTML.",
    "Transfer the style to formal or informal.",
    "Is it good or bad? Give three reasons.",
    "Decide if the comma is needed and rewrite the sentence.",
    "Identify if the plant is edible or toxic and describe its look.",
    "Is the text long? Then shorten it, else leave it.",
    "Find a word that is singular or plural.",
    "Describe the person: old or young, tall or small.",
    "Divide the text into chapters and scenes.",
    "Refer to the person as he or she.",
    "Has the author a pen name, and which?",
    "Draw a picture of a cat or a dog in ASCII.",
    "Is anything missing in the order? List what.",
    "Route the user to the museum or the park, with every turn.",
    "What does the sentence mean: literally or as an idiom?",
    "You are a helpful assistant. Is there anything else?",
    "Does this text need a better title? Suggest three.",
    "Could the tone be friendlier? Rewrite it.",
    "Would it be possible to get this in French?",
    "Have a look at the text.",
    "Check if the spelling is right and fix it.",
    "Determine whether the triangle is right-angled and compute its area.",
    "Should I bring an umbrella? Answer with advice for the weather described.",
    "Has the text a moral? Write it down in one sentence.",
    "Would you rather be rich or famous?",
    "Is the temperature above or below zero, and by how much?",
    "Direct the reader to the page or chapter.",
    "Write a yes/no question about the text.",
    "Say who is right or wrong.",
    "Which is better, tea or coffee, and why?",
    "Forward slashes to backslashes or dots.",
    "Is the verb in past or present tense? Change it to the other.",
    "Does the story end well? Write another end.",
    "Did I forget something?",
    "Can you find the date?",
    "Write a poem or a haiku",
    "Extract the city or country",
    "Is there a name? Give it.",
    "Tell me what the text says about cats or dogs",
)


@pytest.mark.parametrize(("text", "members"), ASKED.items())
def test_set_that_a_sentence_asks_for_is_found(text: str, members: str) -> None:
    first = next(stated for stated in stated_sets(text) if stated.is_plain)
    assert first.members == tuple(members.split("|"))


@pytest.mark.parametrize("text", POLAR)
def test_question_of_yes_or_no_has_these_answers(text: str) -> None:
    assert next(stated for stated in stated_sets(text) if stated.is_plain).members == ("yes", "no")


@pytest.mark.parametrize("text", OPEN)
def test_nothing_is_found_where_other_text_is_asked_for(text: str) -> None:
    assert not [stated for stated in stated_sets(text) if stated.is_plain]


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("Is the service good service or bad service?", ("good service", "bad service")),
        ("Label the visit good service or bad service.", ()),
        ("Mark the visit as good service or bad service.", ("good service", "bad service")),
        ("Is this a good or bad review?", ("good", "bad")),
        ("Is it a question or a feature request?", ("question", "feature request")),
        ("Say whether the shop is open or closed on Sundays.", ("open", "closed")),
        ("Say whether it is made of wood or made of metal.", ("made of wood", "made of metal")),
        ("Is the item dead or out of stock?", ()),
    ],
)
def test_label_ends_where_the_sentence_goes_on(text: str, members: tuple[str, ...]) -> None:
    assert next((stated.members for stated in stated_sets(text) if stated.is_plain), ()) == members


def test_items_of_an_unclear_list_are_of_one_scale() -> None:
    assert next(asked_sets("Rate the room good or bad.")) == ("good", "bad")
    assert not list(asked_sets("Rate the room price or service."))


HOSTILE = (
    "is the a or ",
    "a, or ",
    "send it to a, ",
    "say if the a is ",
    "does the ",
    "0 = a, ",
    "which is it, ",
    "? ",
)


@pytest.mark.parametrize("part", HOSTILE)
def test_time_is_bounded_whatever_repeats_within_a_sentence(part: str) -> None:
    text = (part * LONGEST_SENTENCE)[: LONGEST_SENTENCE - 1]
    started = time.process_time()
    list(asked_sets("\n".join([text] * 13)))
    list(asked_sets(text))
    assert time.process_time() - started < 1.0
