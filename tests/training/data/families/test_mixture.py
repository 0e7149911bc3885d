"""The mixture draws the same for the same random state, never one input in two splits, and by its weights."""

import random
from pathlib import Path

import pytest

from cloud_service.task import render_prompt
from tests.training.data.families.drawing import draw, inputs_of
from training.data.corpus import SPLITS, Split
from training.data.episodes import Mixture
from training.data.families import FamilyWeightError, Sources, ToolShares, load_mixture, verify_weights
from training.data.families import mixture as registry

FAMILIES = ("tools", "classify", "extract", "transform", "instructions")


@pytest.fixture(scope="module")
def every(data: Path) -> Mixture:
    """Every family that there is, drawn alike."""
    return load_mixture(Sources(data), weights=dict.fromkeys(registry.FAMILIES, 1.0))


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


def test_more_tools_take_of_the_other_families_alike(data: Path) -> None:
    usual, more = load_mixture(Sources(data)).weights, load_mixture(Sources(data), ToolShares(episodes=0.69)).weights
    assert (sum(usual), usual[0], sum(more), more[0]) == pytest.approx((1.0, 0.38, 1.0, 0.69))
    assert [2 * weight for weight in more[1:]] == pytest.approx(usual[1:])


def test_usual_mixture_has_five_families(mixture: Mixture) -> None:
    """Its draws stay as they are: a new family is in it only where a config says so."""
    assert tuple(family.name for family in mixture.families) == FAMILIES
    assert mixture.weights == pytest.approx((0.38, 0.20, 0.14, 0.16, 0.12))


def test_weights_by_name_choose_the_families(data: Path) -> None:
    weights = {"yes_no": 3, "tools": 0.5, "extract": 0.0, "classify": 1.5}
    mixture = load_mixture(Sources(data), ToolShares(episodes=0.9), weights)
    assert [family.name for family in mixture.families] == ["tools", "classify", "yes_no"]
    assert mixture.weights == (0.5, 1.5, 3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"yesno": 1.0}, "there is no family yesno, the nearest name is yes_no"),
        ({"tools": -1.0}, "the weight of the family tools is -1.0, expected a number of at least 0"),
        ({"tools": float("nan")}, "the weight of the family tools is nan"),
        ({"tools": 0.0, "extract": 0.0}, "the weights of all families are 0"),
    ],
)
def test_weights_that_choose_nothing_are_refused(data: Path, weights: dict[str, float], message: str) -> None:
    with pytest.raises(FamilyWeightError, match=message):
        verify_weights(weights)
    with pytest.raises(FamilyWeightError, match=message):
        load_mixture(Sources(data), weights=weights)


@pytest.mark.parametrize("split", SPLITS)
def test_every_family_draws_many_episodes(every: Mixture, split: Split) -> None:
    """No draw fails, or gives an empty answer, or one outside of a closed set; and the same state draws it again."""
    assert {family.name for family in every.families} == set(registry.FAMILIES)
    for family in every.families:
        episodes = draw(every, family.name, split, 300, inputs=2)
        assert episodes[:30] == draw(every, family.name, split, 30, inputs=2)
        for episode in episodes:
            assert episode.name.split("/")[0] == family.name
            assert render_prompt(episode.task)
            assert len(episode.instances) == 2
            assert all(instance.input.strip() and instance.output.strip() for instance in episode.instances)
            if episode.labels and family.name != "tools":
                assert {instance.output for instance in episode.instances} <= set(episode.labels)
            if split != "train":
                assert not {e.input for e in episode.task.examples} & {i.input for i in episode.instances}


@pytest.mark.parametrize("family", ["function_calls", "json_fields", "yes_no", "normalization"])
def test_no_input_of_a_newer_family_is_in_two_splits(every: Mixture, family: str) -> None:
    """The other ones take parts of texts, or words of small tables."""
    drawn = {split: inputs_of(draw(every, family, split, 100)) for split in SPLITS}
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["validation"] & drawn["test"]
