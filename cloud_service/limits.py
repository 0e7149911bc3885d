"""Named limits of requests, shown in the OpenAPI schema and checked before a request reaches the service.

They bound the memory that one client can occupy. The length of a prompt in tokens is bounded by its generator, the
formats by `loragen.contract.limits`; sizes of queues and caches are settings (`config`).
"""

MAX_BODY_BYTES = 1024 * 1024
"""One HTTP body or gRPC message. All other limits together allow about 800,000 characters of text."""

MAX_UPLOAD_BYTES = 64 * 1024 * 1024
"""The files of a user's own LoRA, in one HTTP body. All linear layers of TinyLlama-1.1B at rank 16 take 50 MB in
float32; one that is larger can be saved in bfloat16. Like every request it must arrive within 30 s
(`loragen.web.server`).
"""

MAX_DESCRIPTION_CHARS = 16_000
"""About 4,000 tokens, the longest system prompt that edge models of this size are given in practice."""

MAX_EXAMPLES = 64
"""Few-shot prompts use 1 to 32 examples."""

MAX_REFINE_EXAMPLES = 512
"""Labelled examples to refine on; beyond some hundred, more of them hardly help."""

MIN_REFINE_EXAMPLES = 4
"""Different ones. With fewer there is nothing to hold out."""

MAX_REFINE_TOKENS = 1_024
"""Input and output of one of them, in tokens of the edge model: gradients of all layers are in memory for eight."""

MAX_REFINE_STEPS = 500
"""Each takes some seconds on two cores; in the lab log the gain ends before 90."""

MIN_REFINE_SECONDS = 1.0
"""The smallest budget."""

MAX_SYNCHRONOUS_SECONDS = 60.0
"""The largest budget of a refinement that the connection waits for; more is done as a job."""

MAX_JOBS_KEPT = 1_000
"""Jobs that are kept: all that go on, and of the others the most recent ones. Each takes some kilobytes."""

MAX_JOBS_LISTED = 100
"""Jobs on one page of a listing."""

DAY_SECONDS = 86_400

JOB_SECONDS_KEPT = DAY_SECONDS
"""How long a job is kept after it was last changed."""

MAX_EXAMPLE_CHARS = 4_000
"""Input, and output, of one example."""

MAX_TOOLS = 64
"""OpenAI allows 128 tools and advises fewer than 20."""

MAX_TOOL_NAME_CHARS = 64
"""As in the OpenAI schema."""

MAX_TOOL_DESCRIPTION_CHARS = 2_000
"""OpenAI allows 1,024."""

MAX_PARAMETER_NOTE_CHARS = 100
"""What the prompt shows of a parameter's description."""

MAX_OUTPUT_FORMAT_CHARS = 2_000
"""The description of the output format."""

MAX_OUTPUT_SCHEMA_CHARS = 16_000
"""An output format that is a JSON object, as text."""

MAX_CLOSED_SET_CHARS = 100_000
"""A whole task whose answers are a closed set; its choices are read one by one, and its prompt is only counted."""

MAX_PROBES = 32
"""Inputs of one probe; the edge model runs on each of them twice."""

MAX_PROBE_CHARS = 2_000
"""Input, and answer, of one probe: specialized models serve short contexts."""

MAX_PROBE_TOKENS = 8_192
"""All inputs and answers of one probe, each with the residual prompt in front, in tokens of the edge model: some ten
seconds on two cores, 256 for each of 32, or 8 examples that are left out in turn behind the longest residual prompt."""

STORAGE_AGAIN_SECONDS = 3_600
"""Retry-After of a tenant whose share of the store is used up: as often is taken out what has expired."""

MIN_LEFT_OUT = 2
"""Different inputs of a task's examples that may be left out in turn: without one of them, one is left."""

MAX_LEFT_OUT = 8
"""Inputs of a task's examples that are left out in turn; each costs a generation, and two runs of the edge model."""

MAX_REPORT_BYTES = 128 * 1024
"""One report of a device, as JSON: room for 600 specializations, and for a message of each of 100."""

COUNTED_REPORT_BYTES = 4 * 1024
"""A device of a tenant counts once for each of so many bytes of its report: room for some 20 specializations."""

MAX_DEVICES_KEPT = 10_000
"""Reports of one channel that are kept, the most recent ones: 10 to 20 MB where devices have a few specializations."""

MAX_DEVICES_LISTED = 100
"""Devices on one page of a listing, 13 MB at most."""

MAX_DEVICES_SCANNED = MAX_DEVICES_KEPT
"""Devices that one page of a listing looks at, and that a rollout is judged by: the most recent ones."""

MAX_CHANNELS_LISTED = 500
"""Channels on one page of a listing."""

MAX_EVENTS_KEPT = 1_000
"""Events of one channel that are kept, 200 bytes each, 400 at most."""

MAX_EVENTS_OF_TENANT = 100_000
"""Events of all channels of one tenant that are kept, those of deleted ones among them: 40 MB at most. Its
channels alone, as many as it may have and as many deleted ones, could have twenty times as many."""

MAX_SHOWN_LABELS_CHARS = 200
"""Of the labels of a group of devices, in an event and in the audit log: a rollout may name 2 KB of them."""

MAX_ROLLOUT_GROUPS = 100
"""Groups of one rollout. Each poll of its channel looks at all of them, and so does its page in the console."""

MAX_STREAMS = 64
"""Calls at a time on one gRPC connection, watches among them; a device needs two. More wait on the client's side."""

MAX_WATCHES = 10_000
"""Open watch streams of one process."""

MAX_BUNDLES_SENT = 16
"""Answers over gRPC with a bundle, of 16 MB for TinyLlama-1.1B, that are on their way. gRPC keeps the whole answer
until its client has read it, and cannot be made to break off. Over HTTP, which can, there are more places."""

MAX_IMPORTS = 2
"""Uploads of users' own LoRAs at a time at one replica: each may hold 64 MiB, and several times that while it is
converted. A tenant has a share of them, so one that sends slowly leaves a place to others."""

MAX_KEYS_LISTED = 500
"""API keys on one page of a listing."""

MAX_KEY_NAME_CHARS = 100
"""What people call a key."""

MAX_KEY_LIFETIME_SECONDS = 10 * 366 * 86_400
"""Ten years; a key may also be made without an end."""

MAX_SESSIONS_PER_KEY = 100
"""People, or browsers, that are signed in to the console with one API key; the oldest sessions make room."""

MAX_AUDIT_LISTED = 1_000
"""Entries on one page of the audit log, some 500 KB."""
