"""What the sources hold out."""

from pathlib import Path

from training.data.families import Sources, load_mixture
from training.data.families.described import load_described_tools
from training.data.families.tools import ToolRouting, is_held_out, load_test_services, load_tools


def test_described_tools_have_no_namesake_among_the_held_out(data: Path) -> None:
    services = load_test_services(data)
    held_out = {known.tool.name.lower() for known in load_tools(data) if is_held_out(known, services)}
    routing = next(family for family in load_mixture(Sources(data)).families if isinstance(family, ToolRouting))
    namesakes = held_out & {known.tool.name.lower() for known in load_described_tools(data)}
    assert namesakes == {"booktrip"}
    assert not held_out & {known.tool.name.lower() for known in (*routing.tools, *routing.described)}


def test_functions_of_test_services_are_held_out(data: Path) -> None:
    sources = Sources(data)
    assert {function.tool.name for function in sources.functions} == {"FindTrip", "BookTrip"}
    assert {function.tool.name for function in sources.seen_functions} == {"FindTrip"}
