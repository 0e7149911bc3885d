"""Values: words that training never meets, for `tasks-paraphrased`, and whole tasks worded for `reasoning`.

Training draws its words from `training.data.families.wording` and all but the last wording of each transformation;
nothing here repeats them.
"""

CLASSIFY = (
    "Every {noun} belongs to one of these groups: {labels}. Name the group, going by its {aspect}.",
    "I will send you a {noun}. Tell me its {aspect}, choosing from {labels}.",
    "Sort what you are given by {aspect}. The piles are called {labels}.",
    "For the {noun} below pick whichever of {labels_or} describes its {aspect} best.",
)
EXTRACT = (
    "Someone writes to you. Which {slot} do they have in mind? Quote it.",
    "From each message I need nothing but the {slot}.",
    "Fill in a form with a single box, labelled {slot}, from what the person wrote.",
    "Look for the part that states the {slot} and give it back unchanged.",
)
TRANSFORM: dict[str, tuple[str, ...]] = {
    "upper": ("I want no small letters: all of it in capitals.", "Rewrite the line so that each letter is a capital."),
    "lower": ("I want no capitals: all of it in small letters.", "Rewrite the line so that no letter is a capital."),
    "title": ("Give each word a big first letter.", "Format the line like a book title, words capitalized."),
    "first_word": ("Keep the opening word and throw the rest away.", "I only need the word that comes first."),
    "last_word": ("Keep the closing word and throw the rest away.", "I only need the word that comes last."),
    "second_word": ("Skip one word, then tell me the next one.", "I only need the word after the first."),
    "first_two_words": ("Keep the opening pair of words.", "I only need words one and two."),
    "first_letter": ("What is the very first character?", "I only need the letter at the start."),
    "reverse_words": ("Read the words from right to left.", "Swap the words around so that the end comes first."),
    "initials": ("Shorten it to the first letters, in capitals.", "Collect the initial of every word, uppercase."),
    "hyphens": ("Use - instead of blanks.", "Glue all the words together with - signs."),
    "snake": ("Make an identifier: small letters, _ between words.", "Lowercase it and use underscores for blanks."),
    "quote": ('Surround the line with " signs.', "Give it back between quotation marks."),
    "repeat": ("Say the same thing back to me.", "Return what you got, unaltered."),
    "drop_last": ("Leave out the closing word.", "Everything except the word at the end, please."),
    "drop_first": ("Leave out the opening word.", "Everything except the word at the start, please."),
    "commas": ("Make it an enumeration with commas.", "Insert , after each word but the last."),
    "count": ("Tell me how long it is, in words.", "As a number: the amount of words."),
    "exclaim": ("Say it with emphasis: put ! at the end.", "Let it close with an exclamation sign."),
    "please": ("Say please first, then the text.", "Be courteous: open the line with please."),
}
NATURAL_LANGUAGE_INFERENCE = (
    "Given a premise and a hypothesis, say how they relate: entailment, neutral or contradiction.",
    "Does the first sentence imply the second (entailment), rule it out (contradiction), or neither (neutral)?",
    "Judge the pair of sentences. Possible answers: neutral, entailment, contradiction.",
)
DUPLICATE_QUESTIONS = (
    "Do both questions ask for the same thing? Answer True or False.",
    "True if the two questions mean the same, else False.",
    "Decide whether the second question duplicates the first. The answers are False and True.",
)
SAME_SENSE = (
    "A word and two sentences are given. True if the word has the same sense in both, else False.",
    "Is the word used with one meaning in the two sentences? Answer True or False.",
    "Compare the meaning of the word in both sentences: False when it differs, True when it is the same.",
)
REASONING: dict[str, tuple[str, ...]] = {
    "arc-c": (
        "Answer the grade-school science question.",
        "You are given a hard question from a science exam. Give the right answer.",
        "Science exam: reply with the correct answer to the question.",
    ),
    "arc-e": (
        "Answer the easy science question.",
        "You are given a simple question from a science exam. Give the right answer.",
        "Elementary science: reply with the correct answer.",
    ),
    "obqa": (
        "Complete the statement or answer the question with common scientific knowledge.",
        "An open-book question about science: give the right completion.",
        "Use what everyone knows about nature to finish the sentence or answer.",
    ),
    "boolq": (
        "Answer the yes/no question with true or false.",
        "Is it so? Reply true or false.",
        "Decide whether the answer to the question is yes (true) or no (false).",
    ),
    "siqa": (
        "A short story about people is told. Answer the question about what they feel, want or do.",
        "Social common sense: give the most likely answer about the people described.",
        "Read the situation and answer how people would act or feel.",
    ),
    "hellaswag": (
        "Continue the description with what happens next.",
        "Give the ending that makes most sense.",
        "Finish the text in the most plausible way.",
    ),
    "winogrande": (
        "Fill in the blank (_) with the name or thing that it stands for.",
        "Who or what does the underscore in the sentence refer to?",
        "Say which of the two candidates belongs where the _ is.",
    ),
    "piqa": (
        "Give the way to reach the goal that would work in practice.",
        "Physical common sense: how is the goal achieved?",
        "Tell how to do what is asked, with a method that works.",
    ),
}
