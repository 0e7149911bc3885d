"""Makes demo/tasks/*.json: four tasks with inputs that no training run draws (the test split of the public data).

PYTHONPATH=. python scripts/demo_tasks.py --data DIR

The descriptions are written here by hand, as a client would; the inputs are chosen by a fixed seed, not by how well
they go.
"""

import argparse
import json
import random
from pathlib import Path

from training.data.families.classify import load_data_sets
from training.data.families.extract import load_messages
from training.data.families.function_calls import call_text, load_functions
from training.data.families.tools import is_held_out, load_test_services, load_tools

INPUTS = 10
CALLS = 16
"""Drawn of each function, and of all of these the inputs."""

TOOLS = {
    "book_flight": ("Book a plane ticket to a destination", ["origin", "destination", "date"]),
    "weather": ("Tell the weather forecast for a place", ["place", "date"]),
    "play_music": ("Play a song, an artist or a playlist", ["song"]),
    "transfer": ("Move money from one account to another", ["amount", "from_account", "to_account"]),
    "timer": ("Set a countdown timer", ["duration"]),
    "translate": ("Translate words into another language", ["text", "language"]),
    "shopping_list": ("Say what is on the shopping list", []),
}


def main() -> None:
    """Writes the four files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("demo/tasks"))
    arguments = parser.parse_args()
    for make in (_router, _classifier, _extraction, _calls):
        task = make(arguments.data)
        path = arguments.out / f"{task['name']}.json"
        path.write_text(json.dumps(task, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


FUNCTIONS = {
    "get_weather": ("Tell the weather of a city", {"city": "city", "date": "date"}),
    "set_alarm": ("Set an alarm", {"new_alarm_time": "time", "new_alarm_name": "name"}),
    "share_location": ("Share a place with a contact", {"location": "place", "contact_name": "contact"}),
    "make_payment": ("Send money to somebody", {"amount": "amount", "receiver": "receiver"}),
}
"""Functions as a client would name them, with the data set's names of their parameters."""

CALLED = {
    "get_weather": "GetWeather",
    "set_alarm": "AddAlarm",
    "share_location": "ShareLocation",
    "make_payment": "MakePayment",
}


def _router(data: Path) -> dict[str, object]:
    known = {t.tool.name: t for t in load_tools(data) if t.domain.startswith("clinc150/") and t.tool.name in TOOLS}
    pairs = [(text, name) for name in TOOLS for text in known[name].utterances["test"]]
    tools = [_tool(name, description, parameters) for name, (description, parameters) in TOOLS.items()]
    return _task(
        "tool-router",
        {
            "description": "You are the router of a voice assistant. Choose the tool that handles the user's request.",
            "tools": tools,
            "output_format": "Answer with the tool name only.",
        },
        pairs,
        tuple(TOOLS),
    )


def _classifier(data: Path) -> dict[str, object]:
    news = next(d for d in load_data_sets(data) if d.name == "agnews")
    labels = ("world", "sport", "business", "technology")
    rng = random.Random("demo/examples")
    examples = [rng.choice([t for t, n in news.texts["train"] if n == number and len(t) < 160]) for number in range(4)]
    return _task(
        "news-topic",
        {
            "description": f"Classify the news by topic: {', '.join(labels)}.",
            "examples": [{"input": t, "output": label} for t, label in zip(examples, labels, strict=True)],
            "output_format": "Answer with the label only.",
        },
        [(text, labels[number]) for text, number in news.texts["test"]],
        labels,
    )


def _extraction(data: Path) -> dict[str, object]:
    services = load_test_services(data)
    routed = {u for t in load_tools(data) if not is_held_out(t, services) for u in t.utterances["train"]}
    messages = {i for i in load_messages(data)["city"]["test"] if i.input not in routed}
    return _task(
        "city-extraction",
        {
            "description": "Extract the name of the city from the message.",
            "output_format": "the value as written in the message",
        },
        [(i.input, i.output) for i in sorted(messages, key=lambda i: i.input)],
    )


def _calls(data: Path) -> dict[str, object]:
    found = load_functions(data)
    pairs = []
    for name, (_, parameters) in FUNCTIONS.items():
        calls = [
            call
            for function in found
            if function.tool.name == CALLED[name]
            for call in function.calls["test"]
            if call.arguments.keys() <= parameters.keys()
        ]
        pairs += [
            (call.message, call_text(name, {parameters[key]: value for key, value in call.arguments.items()}))
            for call in random.Random(f"demo/{name}").sample(calls, CALLS)
        ]
    tools = [_tool(name, described, [*parameters.values()]) for name, (described, parameters) in FUNCTIONS.items()]
    return _task(
        "function-call",
        {
            "description": "Call the function that the user's request needs.",
            "tools": tools,
            "output_format": 'JSON like {"name": "...", "arguments": {...}}, with the arguments that the user gives',
        },
        pairs,
        max_tokens=48,
    )


def _tool(name: str, description: str, parameters: list[str]) -> dict[str, object]:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def _task(
    name: str,
    request: dict[str, object],
    pairs: list[tuple[str, str]],
    choices: tuple[str, ...] = (),
    max_tokens: int = 16,
) -> dict[str, object]:
    chosen = random.Random(f"demo/{name}").sample(pairs, INPUTS)
    inputs = [{"input": text, "output": answer} for text, answer in chosen]
    closed = {"choices": list(choices)} if choices else {}
    return {"name": name, "request": request, **closed, "max_tokens": max_tokens, "inputs": inputs}


if __name__ == "__main__":
    main()
