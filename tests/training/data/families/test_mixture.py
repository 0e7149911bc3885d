"""The mixture draws the same for the same random state, never one input in two splits, and by its weights."""

import random
from pathlib import Path

import pytest

from cloud_service.task import render_prompt
from tests.training.data.families.drawing import draw, inputs_of
from training.data.corpus import SPLITS, Split
from training.data.episodes import Mixture
from training.data.families import Sources, ToolShares, load_mixture

FAMILIES = ("tools", "classify", "extract", "transform", "instructions")


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
