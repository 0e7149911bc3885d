"""Named limits of requests, shown in the OpenAPI schema and checked before a request reaches the service.

They bound the memory that one client can occupy. The length of a prompt in tokens is bounded by its generator, the
formats by `loragen.contract.limits`; sizes of queues and caches are settings (`config`).
"""

MAX_BODY_BYTES = 1024 * 1024
"""One HTTP body or gRPC message. All other limits together allow about 800,000 characters of text."""

MAX_DESCRIPTION_CHARS = 16_000
"""About 4,000 tokens, the longest system prompt that edge models of this size are given in practice."""

MAX_EXAMPLES = 64
"""Few-shot prompts use 1 to 32 examples."""

MAX_EXAMPLE_CHARS = 4_000
"""Input, and output, of one example."""

MAX_TOOLS = 64
"""OpenAI allows 128 tools and advises fewer than 20."""

MAX_TOOL_NAME_CHARS = 64
"""As in the OpenAI schema."""

MAX_TOOL_DESCRIPTION_CHARS = 2_000
"""OpenAI allows 1,024."""

MAX_TOOL_PARAMETERS = 64
"""Parameters of one tool."""

MAX_OUTPUT_FORMAT_CHARS = 2_000
"""The description of the output format."""

MAX_PROBES = 32
"""Inputs of one probe; the edge model runs on each of them twice."""

MAX_PROBE_CHARS = 2_000
"""Input, and answer, of one probe: specialized models serve short contexts."""

MAX_DEVICES_LISTED = 1_000
"""Devices in one listing, the most recent first."""

MAX_WATCHES = 10_000
"""Open watch streams of one process."""
