"""Values: the many ways in which people word one request, drawn at random so that no single phrase names a task."""

import random
from collections.abc import Sequence

ROUTE = (
    "Choose the tool that handles the user's request.",
    "You are a router. Pick the right tool for each message.",
    "Given a user message, decide which of the tools below should be called.",
    "Select the function to call for the request.",
    "You are an assistant with access to several tools. Answer with the one that fits the request.",
    "Route the message to one of these tools.",
    "Decide which tool to use.",
    "Read what the user says and name the tool that should handle it.",
    "Which of the following functions serves the user best?",
    "You are the dispatcher of a voice assistant. Map each utterance to a tool.",
    "For every request, call exactly one of the tools listed.",
    "Match the request with the most suitable API.",
)
ROUTE_FORMAT = (
    "Answer with the tool name only.",
    "the name of the tool",
    "Reply with just the function name.",
    "Only the tool name, nothing else.",
    "Output the name of the chosen tool.",
)
ROUTE_JSON = (
    'A JSON object with one key, "tool".',
    'Reply in JSON: {"tool": name}',
    'JSON with the chosen name under the key "tool"',
)
CLASSIFY = (
    "Classify the {noun} into one of these labels: {labels}.",
    "Decide whether the {noun} is {labels_or}.",
    "Label each {noun} as {labels_or}.",
    "What is the {aspect} of the {noun}? Possible answers: {labels}.",
    "You are a classifier of {aspect}. The labels are {labels}.",
    "Given a {noun}, predict its {aspect}: {labels_or}.",
    "Assign one of the following categories by {aspect}: {labels}.",
    "Read the {noun} and say which {aspect} it has, {labels_or}.",
)
CLASSIFY_FORMAT = (
    "Answer with the label only.",
    "one label",
    "Reply with exactly one of the labels.",
    "Only the label.",
    "the label, nothing else",
)
EXTRACT = (
    "Extract the {slot} from the message.",
    "Find the {slot} that the user mentions.",
    "What is the {slot} in this request?",
    "Return the {slot} mentioned in the text.",
    "Copy the {slot} out of the user's message.",
    "You read messages and pull out one field: the {slot}.",
    "Identify the {slot}.",
    "Pick out the {slot} from the sentence.",
)
EXTRACT_FORMAT = (
    "Answer with the value only.",
    "the value as written in the message",
    "Reply with the exact words of the message.",
    "Only the extracted text.",
)


def choose(rng: random.Random, phrases: Sequence[str], **values: str) -> str:
    """One of the phrases, filled in."""
    return rng.choice(phrases).format(**values)


def maybe(rng: random.Random, chance: float, phrases: Sequence[str]) -> str:
    """One of the phrases with the given chance, else nothing."""
    return rng.choice(phrases) if rng.random() < chance else ""


def listed(labels: Sequence[str]) -> str:
    """Labels with commas."""
    return ", ".join(labels)


def listed_or(labels: Sequence[str]) -> str:
    """Labels with commas and a last `or`."""
    return f"{', '.join(labels[:-1])} or {labels[-1]}"
