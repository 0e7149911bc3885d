"""Families draw what their descriptions say, the same for the same random state, and never what is held out."""

import json
import random
import re
from pathlib import Path

import pytest

from cloud_service.task import Tool, render_prompt
from tests.training.packed import texts_of, write_records
from training.data.corpus import SPLITS, Split, read_records
from training.data.episodes import Episode, Instance, Mixture, choose_examples
from training.data.families import Sources, ToolShares, load_mixture
from training.data.families.classify import Classification, LabelledTexts, TextKind, load_data_sets
from training.data.families.described import load_described_tools
from training.data.families.extract import SlotExtraction, load_messages
from training.data.families.instructions import PublishedInstructions, is_seen, load_described_tasks
from training.data.families.names import relabel, rename_tools, respell
from training.data.families.tools import KnownTool, ToolRouting, humanize, is_held_out, load_test_services, load_tools
from training.data.families.transform import TRANSFORMATIONS, TextTransformation
from training.data.gibberish import gibberish

FAMILIES = ("tools", "classify", "extract", "transform", "instructions")


def draw(mixture: Mixture, family: str, split: Split, count: int, inputs: int = 4) -> list[Episode]:
    """Episodes of one family, each from its own random state."""
    chosen = next(f for f in mixture.families if f.name == family)
    return [chosen.draw(random.Random(f"{split}/{number}"), split, inputs) for number in range(count)]


def inputs_of(episodes: list[Episode]) -> set[str]:
    """Every input, asked or shown as an example."""
    asked = {instance.input for episode in episodes for instance in episode.instances}
    return asked | {example.input for episode in episodes for example in episode.task.examples}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split", SPLITS)
def test_same_random_state_draws_the_same_episode(mixture: Mixture, data: Path, family: str, split: Split) -> None:
    """Also from data read again: resuming draws what an uninterrupted run would have drawn."""
    episodes = draw(mixture, family, split, 30)
    assert draw(mixture, family, split, 30) == episodes
    assert len({render_prompt(episode.task) for episode in episodes}) > 5
    for episode in episodes:
        assert episode.name.split("/")[0] == family
        assert len(episode.instances) == 4


def test_data_read_again_draws_the_same(mixture: Mixture, data: Path) -> None:
    again = load_mixture(Sources(data))
    for number in range(50):
        first, second = (m.draw(random.Random(number), "train", 3) for m in (mixture, again))
        assert first == second


@pytest.mark.parametrize("family", ["tools", "classify", "extract", "instructions"])
def test_no_input_is_in_two_splits(mixture: Mixture, family: str) -> None:
    """`transform` takes parts of these texts; its own test follows."""
    drawn = {split: inputs_of(draw(mixture, family, split, 150)) for split in SPLITS}
    assert all(len(inputs) >= 10 for inputs in drawn.values())
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["validation"] & drawn["test"]


def test_families_that_share_texts_share_their_split(mixture: Mixture) -> None:
    """Routing and domain classification read the same utterances: what one holds out, the other does not train on."""
    trained = inputs_of(draw(mixture, "tools", "train", 150)) | inputs_of(draw(mixture, "classify", "train", 150))
    for family in ("tools", "classify"):
        for split in ("validation", "test"):
            assert not trained & inputs_of(draw(mixture, family, split, 150))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_scored_input_is_not_among_the_examples(mixture: Mixture, family: str, split: Split) -> None:
    """Drawn with replacement from a handful of texts, many would be."""
    episodes = draw(mixture, family, split, 150, inputs=8)
    assert sum(bool(episode.task.examples) for episode in episodes) > 5
    for episode in episodes:
        assert not {e.input for e in episode.task.examples} & {i.input for i in episode.instances}


def test_held_out_tools_are_never_drawn_for_training(mixture: Mixture, data: Path) -> None:
    services = load_test_services(data)
    assert services == {"BookTrip"}
    tools = load_tools(data)
    held_out = {known.tool.name for known in tools if is_held_out(known, services)}
    seen = {known.tool.name for known in tools} - held_out
    assert "BookTrip" in held_out
    assert len(held_out) >= 5
    episodes = [e for split in SPLITS for e in draw(mixture, "tools", split, 200)]
    drawn = {tool.name for episode in episodes for tool in episode.task.tools}
    assert seen <= drawn
    assert not held_out & drawn
    kept = {u for known in tools if known.tool.name in held_out for us in known.utterances.values() for u in us}
    assert kept
    assert not kept & inputs_of(episodes)


def test_held_out_and_reasoning_tasks_are_never_drawn(mixture: Mixture, data: Path) -> None:
    tasks = load_described_tasks(data)
    assert "task_piqa_goal" not in {task.name for task in tasks}
    held_out = {task.name for task in tasks if not is_seen(task)}
    assert len(held_out) == 2
    drawn = {e.name for split in SPLITS for e in draw(mixture, "instructions", split, 60)}
    assert drawn == {f"instructions/{task.name}" for task in tasks if task.name not in held_out}


def test_message_of_a_test_service_that_others_say_too_is_not_held_out(data: Path) -> None:
    messages = load_messages(data)
    both = [i.input for by in messages.values() for i in by["train"] if i.input.startswith("both of us")]
    assert both
    assert not {i.input for by in messages.values() for i in by["test"]} & set(both)


def test_utterance_of_two_sources_has_one_split(tmp_path: Path, data: Path) -> None:
    """The same words as a training utterance of one tool and a test utterance of another: training keeps them."""
    records = list(read_records(data / "tools/utterances.jsonl.zst"))
    repeated = next(r for r in records if r["source"] == "clinc150" and r["split"] == "train")
    other = next(r for r in records if r["source"] == "clinc150" and r["tool"] != repeated["tool"])
    records += [other | {"utterance": repeated["utterance"], "split": split} for split in ("val", "test")]
    write_records(tmp_path / "tools/utterances.jsonl.zst", records)
    write_records(tmp_path / "tools/definitions.jsonl.zst", read_records(data / "tools/definitions.jsonl.zst"))
    loaded, before = load_tools(tmp_path), load_tools(data)
    assert [known.utterances for known in loaded] == [known.utterances for known in before]


@pytest.mark.parametrize("split", SPLITS)
def test_routing_answers_with_a_tool_of_the_set(mixture: Mixture, split: Split) -> None:
    in_json, none_fits, renamed = 0, 0, 0
    known = {
        known.tool.name for family in mixture.families if isinstance(family, ToolRouting) for known in family.tools
    }
    for episode in draw(mixture, "tools", split, 200):
        names = [tool.name for tool in episode.task.tools]
        assert 3 <= len(names) <= 10
        assert len(set(names)) == len(names)
        renamed += not known & set(names)
        answers = [instance.output for instance in episode.instances]
        labels = list(episode.labels)
        if answers[0].startswith("{"):
            in_json += 1
            answers = [json.loads(answer)["tool"] for answer in answers]
            labels = [json.loads(label)["tool"] for label in labels]
        assert labels[: len(names)] == names
        for answer in set(answers) - set(names):  # what the description says for it, or the word `none`
            none_fits += 1
            assert [answer] == (labels[len(names) :] or ["none"])
            assert len(labels) == len(names) or answer in episode.task.description
    assert in_json
    assert none_fits
    assert renamed > 20


def test_routing_among_few_tools_uses_all_of_them() -> None:
    tools = [KnownTool(Tool(f"t{n}", "d"), "one", {split: ["a", "b"] for split in SPLITS}) for n in range(2)]
    episode = ToolRouting(tools).draw(random.Random(0), "train", 3)
    assert len({tool.name for tool in episode.task.tools}) == 2


def test_foreign_request_shares_no_word_with_a_name_of_the_set() -> None:
    """Also one of the same domain is foreign: the description has to tell which tools there are."""
    called = ["play_music", "pause_music", "book_table", "call_taxi", "send_letter", "paint_house"]
    tools = [KnownTool(Tool(name, "d"), "one", {s: [f"{name} 1", f"{name} 2"] for s in SPLITS}) for name in called]
    shares = ToolShares(renamed=0.0, foreign=1.0)
    nones = 0
    for number in range(40):
        episode = ToolRouting(tools[:5] if number % 2 else tools, shares=shares).draw(random.Random(number), "train", 6)
        words = {word for tool in episode.task.tools for word in tool.name.split("_")}
        for instance in episode.instances:
            asked = instance.input.split()[0]
            if asked not in instance.output:
                nones += 1
                assert not words & set(asked.split("_"))
    assert nones > 40


def test_described_tools_have_no_namesake_among_the_held_out(data: Path) -> None:
    services = load_test_services(data)
    held_out = {known.tool.name.lower() for known in load_tools(data) if is_held_out(known, services)}
    routing = next(family for family in load_mixture(Sources(data)).families if isinstance(family, ToolRouting))
    namesakes = held_out & {known.tool.name.lower() for known in load_described_tools(data)}
    assert namesakes == {"booktrip"}
    assert not held_out & {known.tool.name.lower() for known in (*routing.tools, *routing.described)}


def test_requests_made_from_descriptions_belong_to_one_tool_and_one_split(data: Path) -> None:
    tools = load_described_tools(data)
    assert len(tools) >= 5
    requests = [request for known in tools for split in SPLITS for request in known.utterances[split]]
    assert len(set(requests)) == len(requests)
    for known in tools:
        thing = humanize(known.tool.name).removeprefix("get ")
        assert all(thing in request for split in SPLITS for request in known.utterances[split])


def test_new_names_are_different_and_in_one_style() -> None:
    known = [("play music", "Plays a song."), ("get weather", "The weather of a city."), ("play music", "Plays it.")]
    styles = set()
    for number in range(200):
        names = rename_tools(random.Random(number), known)
        assert len(set(names)) == 3
        assert all(name.strip() for name in names)
        styles.add(names[1])
    assert len(styles) > 50
    assert {"get_weather", "getWeather", "GetWeather"} <= styles


@pytest.mark.parametrize("count", [2, 5, 8])
def test_new_labels_are_different(count: int) -> None:
    drawn = [relabel(random.Random(number), count) for number in range(50)]
    assert all(len(set(labels)) == count for labels in drawn)
    assert len(set(map(tuple, drawn))) > 20


def test_respelled_labels_stay_different() -> None:
    for number in range(20):
        assert len(set(respell(random.Random(number), ["Good", "good", "so so"]))) == 3


def test_classification_keeps_the_meaning_of_renamed_labels() -> None:
    """Whatever the labels are called, texts of one class get one answer, which the description names."""
    texts = {split: [(f"{split} {n}", n % 2) for n in range(12)] for split in SPLITS}
    data = LabelledTexts("toy", TextKind(("text",), ("tone",), (("bad", "good"), ("NEG", "POS"))), texts)
    relabelled = 0
    for number in range(60):
        episode = Classification([data]).draw(random.Random(number), "train", 8)
        answers = {(int(i.input.split()[-1]) % 2, i.output) for i in episode.instances}
        answers |= {(int(e.input.split()[-1]) % 2, e.output) for e in episode.task.examples}
        assert len({label for _, label in answers}) == len({cls for cls, _ in answers}) == len(answers)
        for class_number, label in answers:
            called = [names[class_number] for names in data.kind.names]
            if not episode.task.description:  # then the examples show every label
                assert label in {e.output for e in episode.task.examples}
                continue
            assert label in episode.task.description
            if label.lower() in [name.lower() for name in called]:
                continue
            relabelled += 1  # the description says what the label stands for, in one sentence
            sentences = [s for s in re.split(r"(?<=[.;]) ", episode.task.description) if label in s]
            assert any(name in sentence for sentence in sentences for name in called)
    assert relabelled


def test_extracted_value_stands_in_the_message(data: Path, mixture: Mixture) -> None:
    assert SlotExtraction(load_messages(data)).kinds == ["city", "time"]
    for episode in draw(mixture, "extract", "train", 40):
        for instance in episode.instances:
            assert instance.output in instance.input


def test_transformed_texts_are_parts_of_texts_of_their_split() -> None:
    texts: dict[Split, list[str]] = {split: [f"{split[:2]}{n} b{n} c{n} d{n}" for n in range(5)] for split in SPLITS}
    family = TextTransformation(texts | {"train": [*texts["train"], "single"]})
    for split in SPLITS:
        for number in range(60):
            for instance in family.draw(random.Random(number), split, 3).instances:
                assert len(instance.input.split()) >= 2
                assert any(instance.input in text for text in texts[split])


def test_what_validation_asks_is_never_met_in_training() -> None:
    texts: dict[Split, list[str]] = {split: ["one two three"] for split in SPLITS}
    family = TextTransformation(texts)
    asked = {
        split: {family.draw(random.Random(n), split, 2).task.description for n in range(300)} - {""} for split in SPLITS
    }
    assert asked["validation"] == asked["test"] == {t.withheld for t in TRANSFORMATIONS}
    assert asked["train"] <= {ask for t in TRANSFORMATIONS for ask in t.asks}


def test_transformations_do_what_they_are_called() -> None:
    results = {t.name: t.apply("wake Me at seven.") for t in TRANSFORMATIONS}
    assert results == {
        "upper": "WAKE ME AT SEVEN.",
        "lower": "wake me at seven.",
        "title": "Wake Me At Seven.",
        "first_word": "wake",
        "last_word": "seven.",
        "second_word": "Me",
        "first_two_words": "wake Me",
        "first_letter": "w",
        "reverse_words": "seven. at Me wake",
        "initials": "WMAS",
        "hyphens": "wake-Me-at-seven.",
        "snake": "wake_me_at_seven.",
        "quote": '"wake Me at seven."',
        "repeat": "wake Me at seven.",
        "drop_last": "wake Me at",
        "drop_first": "Me at seven.",
        "commas": "wake, Me, at, seven.",
        "count": "4",
        "exclaim": "wake Me at seven!",
        "please": "please wake Me at seven.",
    }


def test_published_descriptions_are_shortened_at_a_sentence(tmp_path: Path) -> None:
    instances = [{"input": t, "outputs": ["x"]} for s in SPLITS for t in texts_of(s, 25, "say {}".format)]
    long = "First sentence of the task. " * 30
    record = {"task": "task_long", "descriptions": [long, "y" * 900], "instances": instances}
    write_records(tmp_path / "tasks/described_tasks.jsonl.zst", [record])
    (task,) = load_described_tasks(tmp_path)
    assert len(task.descriptions[0]) <= 500
    assert task.descriptions[0].endswith("task.")
    assert task.descriptions[1] == "y" * 500
    assert PublishedInstructions([task]).draw(random.Random(0), "test", 3).task.description in task.descriptions


def test_labelled_texts_are_read_with_their_classes(data: Path) -> None:
    sets = {labelled.name: labelled for labelled in load_data_sets(data)}
    assert set(sets) == {"agnews", "sst2", "reviews", "phrases", "domains"}
    assert {number for _, number in sets["agnews"].texts["train"]} == {0, 1, 2, 3}
    assert {number for _, number in sets["reviews"].texts["test"]} == {0, 1}
    assert all(text.startswith("a ") for text, _ in sets["sst2"].texts["train"]), "without the word Text:"


def test_mixture_draws_by_weight() -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
            return Episode(self.name, gibberish(rng, 3), ())

    mixture = Mixture("both", (Named("a"), Named("b"), Named("c")), (3, 1, 0))
    rng = random.Random(0)
    names = [mixture.draw(rng, "train", 1).name for _ in range(800)]
    assert names.count("a") / len(names) == pytest.approx(0.75, abs=0.05)
    assert "c" not in names


def test_more_tools_take_of_the_other_families_alike(data: Path) -> None:
    usual, more = load_mixture(Sources(data)).weights, load_mixture(Sources(data), ToolShares(episodes=0.69)).weights
    assert (sum(usual), usual[0], sum(more), more[0]) == pytest.approx((1.0, 0.38, 1.0, 0.69))
    assert [2 * weight for weight in more[1:]] == pytest.approx(usual[1:])


@pytest.mark.parametrize("split", SPLITS)
def test_examples_are_one_to_four_in_a_third_of_the_draws(split: Split) -> None:
    instances = [Instance(str(n), "x") for n in range(12)]
    counts = [choose_examples(random.Random(n), instances, 8, split)[1] for n in range(900)]
    assert set(counts) == {0, 1, 2, 3, 4}
    assert counts.count(0) / len(counts) == pytest.approx(2 / 3, abs=0.05)


def test_inputs_asked_for_come_before_examples() -> None:
    """With no instance to spare, none becomes an example."""
    instances = [Instance(str(n), "x") for n in range(3)]
    assert {choose_examples(random.Random(n), instances, 3, "train") for n in range(20)} == {((), 0)}


def test_gibberish_has_the_length_of_what_it_replaces() -> None:
    for length in (1, 40, 400):
        text = gibberish(random.Random(0), length).description
        assert length <= len(text) + 1 <= length + 12
    assert gibberish(random.Random(0), 50) == gibberish(random.Random(0), 50) != gibberish(random.Random(1), 50)
