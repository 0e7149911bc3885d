"""Named limits of the formats and of status reports. Each is checked before memory is taken for what it bounds.

The numbers leave room above the largest models that the project names (Gemma-2B, rank 16: a bundle of 32 MB), and a
small device can bear them. Limits of requests, queues and downloads belong to the services.
"""

MAX_LAYERS = 256
"""Edge layers. Llama 3.1 405B, the deepest common decoder, has 126."""

MAX_HIDDEN = 65_536
"""Width of the edge model's residual stream."""

MAX_INTERMEDIATE = 262_144
"""Width of a feed-forward layer; common models use 3 to 8 times the hidden width."""

MAX_ATTENTION = 65_536
"""Width of the queries, keys or values of all heads of a layer; common models use 0.1 to 2 times the hidden width."""

MAX_RANK = 1_024
"""LoRA rank of one projection. The mix `deltas` multiplies the expert's rank by the number of chosen experts."""

MAX_EXPERTS = 1_024
"""Experts in one layer. The paper uses 8, dense gating some hundred."""

MAX_ALPHA = 65_536.0
"""Alpha of an expert; alpha / rank is its scale."""

MAX_PROMPT_TOKENS = 1_048_576
"""Tokens of a task description, as the edge model counts them: the longest context on the market."""

MAX_RESIDUAL_PROMPT_BYTES = 2_048
"""A residual prompt, in UTF-8: some hundred words. Each sequence on a device has it, so a longer one would be the very
prompt that a specialization is to save."""

MAX_CHOICES = 256
"""Texts in the closed set of an answer contract; four times as many as a request has tools."""

MAX_CHOICE_BYTES = 400
"""One of these texts, in UTF-8."""

MAX_PARALLEL_CALLS = 16
"""Calls of functions in one answer."""

MAX_SCHEMA_NODES = 512
"""Schemas inside one JSON Schema, itself included, with references in place: a grammar grows with them."""

MAX_SCHEMA_DEPTH = 16
"""Levels of one JSON Schema. OpenAI allows ten levels of objects."""

MAX_SCHEMA_PROPERTIES = 64
"""Properties of one object."""

MAX_SCHEMA_REPEATS = 256
"""The largest bound of a number of items: a grammar spells each of them."""

MAX_SCHEMA_LENGTH = 65_536
"""The largest bound of a length, in characters: 256 blocks of 256. A device's answers are shorter by default."""

MAX_PATTERN_PARTS = 512
"""Characters, groups and repetitions of one pattern, each repetition spelled: a grammar grows with them."""

MAX_PATTERN_CHARACTERS = 1_024
"""Of one pattern, as it is written."""

MAX_TEXT_STEPS = 16_384
"""Steps that tell the texts of one pattern apart; computing so many takes a tenth of a second."""

MAX_TEXT_STATES = 8_192
"""States of texts that have to be of a pattern and of a length or format besides: a grammar has a rule for each."""

MAX_CONTRACT_BYTES = 256 * 1024
"""An answer contract. As JSON in ASCII, a text may take six times its bytes; so many long ones are refused."""

MAX_TOKEN = 2**31 - 1
"""The largest token id of llama.cpp."""

MAX_HEADER_BYTES = 1024 * 1024
"""Header of a safetensors file. A bundle with all linear layers of 256 needs 500 KB; an answer contract inside JSON may
double."""

MAX_TENSORS = MAX_LAYERS * 7 * 2
"""Tensors in one file: A and B for seven linear layers of each decoder layer. A bank has fewer."""

MAX_BUNDLE_BYTES = 512 * 1024 * 1024
"""One bundle. TinyLlama-1.1B at rank 16 takes 16 MB."""

MAX_ADAPTER_BYTES = 2 * MAX_BUNDLE_BYTES
"""The weights of a user's own PEFT adapter: float32, of which a bundle keeps half."""

MAX_ADAPTER_CONFIG_BYTES = 1024 * 1024
"""The configuration beside them; one that names every module of 256 layers has 200 KB."""

MAX_RECIPE_BYTES = 16 * 1024 * 1024
"""One recipe: gates of 256 layers x 3 groups x 1,024 experts take 3 MiB, keys of 1,024 numbers for 256 choices 1 MiB a
layer, of which models have a few."""

MAX_BANK_BYTES = 64 * 1024 * 1024 * 1024
"""One bank. Its file is mapped, not read into memory, so this limit guards the disk."""

MAX_SPECIALIZATIONS = 1_024
"""Specializations in one channel."""

MAX_CHANNEL_BYTES = 1024 * 1024
"""One channel document: 1,024 specializations of at most 900 bytes."""

MAX_CHANNEL_VERSION = 2**53 - 1
"""Largest integer that every JSON reader reads exactly."""

MAX_STATUS_MESSAGE_CHARS = 1_000
"""The message that a device reports about one specialization."""

MAX_LABELS = 16
"""Labels of one device."""
