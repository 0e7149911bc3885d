"""What a task's answers look like: its answer contract, and what it says of each choice of a closed set.

- `contract` decides: what the request gives, else what its tools (`tool_choices`), its words (`stated`) or its examples
  say, else any text.
- `choices` reads what the task says of each choice, with `label_meanings` of a sentence that names several.
- `call_shapes` brings calls in examples into one form; `written_answers` tells which texts a device can write under a
  contract.
"""
