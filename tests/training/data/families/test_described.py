"""Requests made from the descriptions of tools."""

from pathlib import Path

from training.data.corpus import SPLITS
from training.data.families.described import load_described_tools
from training.data.families.tools import humanize


def test_requests_made_from_descriptions_belong_to_one_tool_and_one_split(data: Path) -> None:
    tools = load_described_tools(data)
    assert len(tools) >= 5
    requests = [request for known in tools for split in SPLITS for request in known.utterances[split]]
    assert len(set(requests)) == len(requests)
    for known in tools:
        thing = humanize(known.tool.name).removeprefix("get ")
        assert all(thing in request for split in SPLITS for request in known.utterances[split])
