"""Which closed sets of answers a task's words state: `stated_choices.stated_sets` is the entry.

It reads the output format, then the description, from the surest words to the vaguest:

1. `other_languages` puts the announcing words of six languages into English; `quotations` makes each quotation one
   character, so that its commas separate nothing.
2. `explained_labels`: labels with what they mean, in lines, tables, sentences or brackets.
3. `cases`: `Say UP if ..., DOWN if ... and FLAT otherwise`.
4. `numbers_and_letters`: scales, options with letters, codes with their meanings.
5. `announcements`: lists behind words such as `Labels:` or `Answer with`.
6. `asked_choices` and, for yes and no, `polar_questions`: a sentence that asks for one of several answers itself, where
   no other sentence asks for anything (`task_sentences`).

`choice_lists` tells the items of a list, `opposites` which words are labels of one scale, and `answer_words` holds the
words that several modules search for.
"""
