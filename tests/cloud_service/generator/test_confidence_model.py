"""A calibration gives a confidence, is bound by the generator's digest, and changes no gate."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.answer.choices import Choice
from cloud_service.generation import Asked
from cloud_service.generator import CheckpointError, load_generator
from cloud_service.generator.checkpoint import CONFIDENCE_FILE, add_calibration, read_manifest
from cloud_service.generator.choice_head import ChoiceHeadConfig
from cloud_service.generator.confidence_model import (
    SCALARS,
    SET_FEATURES,
    Calibration,
    PromptFeatures,
    Regression,
    load_calibration,
    set_features,
    store_calibration,
)
from loragen.contract.answer import AnswerContract
from loragen.contract.digest import file_sha256
from tests.cloud_service.generator.tiny import Pair, make_pair, random_model

PROMPTS = ["route the message to a tool", "x", "Classify the review: positive or negative?\n\nünïcödé 東京"]
HIDDEN = 32
FEATURES = PromptFeatures.count(HIDDEN)
SETS = [
    (Choice("play", "play music: plays a song"), Choice("wake", "set alarm", ("wake me",))),
    (Choice("yes", "yes"), Choice("no", "no"), Choice("none", "none")),
]


def regression(features: int = FEATURES, seed: int = 0) -> Regression:
    random = np.random.default_rng(seed)
    center, scale, weights = (
        random.standard_normal(size).astype(np.float32) for size in (features, features, features + 1)
    )
    return Regression(center, np.abs(scale) + 0.1, 0.1 * weights, 0.25, 1.5, 3.0)


def calibration(features: int = FEATURES, seed: int = 0) -> Calibration:
    return Calibration(regression(features, seed))


@pytest.fixture
def directory(pair: Pair, tmp_path: Path) -> Path:
    """A calibrated copy of the generator's folder."""
    directory = Path(shutil.copytree(pair.generator, tmp_path / "generator"))
    add_calibration(directory, calibration())
    return directory


def test_calibration_changes_the_digest_and_no_gate(pair: Pair, directory: Path) -> None:
    plain = load_generator(pair.generator, pair.cloud, pair.edge)
    calibrated = load_generator(directory, pair.cloud, pair.edge)
    assert plain.info.digest != calibrated.info.digest == file_sha256(directory / "generator.json")
    for before, after in zip(
        plain.generate([Asked(prompt) for prompt in PROMPTS]),
        calibrated.generate([Asked(prompt) for prompt in PROMPTS]),
        strict=True,
    ):
        assert before.confidence is None
        assert after.confidence is not None
        assert before.gates.tobytes() == after.gates.tobytes()


def test_confidence_is_what_the_calibration_says_of_the_features(pair: Pair, directory: Path) -> None:
    generator = load_generator(directory, pair.cloud, pair.edge)
    features = generator.measure(PROMPTS)
    assert features.shape == (len(PROMPTS), FEATURES)
    reported = [generation.confidence for generation in generator.generate([Asked(prompt) for prompt in PROMPTS])]
    assert reported == [regression().judge(row) for row in features]
    assert reported[0] == generator.generate([Asked(PROMPTS[0])])[0].confidence
    assert len({each.score for each in reported if each is not None}) == len(PROMPTS)
    assert generator.generate([Asked("")])[0].confidence is not None


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_surprise_is_the_models_own_loss_on_the_prompt(family: str) -> None:
    """Gemma 2 caps its logits."""
    model = random_model(family)
    ids, lengths = torch.randint(3, 320, (2, 12)), torch.tensor([12, 7])
    with torch.inference_mode():
        states = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        meta = torch.randn(2, 4, HIDDEN)
        features = PromptFeatures(model)(ids, lengths, torch.tensor([24, 14]), meta, states)
        for row, length in enumerate(lengths.tolist()):
            asked = ids[row : row + 1, :length]
            loss = model(input_ids=asked, labels=asked).loss
            expected = torch.tensor([loss, np.log(length), 0.5])
            assert torch.allclose(features[row, :SCALARS], expected.float(), atol=1e-4)
            means = torch.cat([meta[row].mean(0), states[row, :length].mean(0)])
            assert torch.allclose(features[row, SCALARS:], means, atol=1e-5)


def test_coherence_takes_the_place_of_surprise_in_an_encoder() -> None:
    """1 when the states of the prompt point the same way, whatever their length; less when they do not."""
    same = torch.tensor([1.0, 2.0, 0.5])[:, None] * torch.randn(HIDDEN)
    apart = torch.eye(HIDDEN)[:3]
    meta, ids, lengths = torch.randn(2, 4, HIDDEN), torch.zeros(2, 3, dtype=torch.long), torch.tensor([3, 3])
    features = PromptFeatures(random_model("bert"))(ids, lengths, lengths, meta, torch.stack([same, apart]))
    assert features.shape == (2, FEATURES)
    torch.testing.assert_close(features[:, 0], torch.tensor([1.0, 3**-0.5]))


def test_score_rises_with_the_logit_and_far_means_beyond_the_farthest() -> None:
    weights = np.zeros(FEATURES + 1, np.float32)
    weights[0] = 2.0
    plain = Regression(
        np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32), weights, -1.0, farthest=2.0, evidence=3.0
    )
    features = np.zeros(FEATURES, np.float32)
    features[0] = 0.5
    assert plain.judge(features).score == pytest.approx(0.5)
    features[0] = -1e9  # no overflow
    assert 0 <= plain.judge(features).score < 1e-4
    assert plain.judge(features).is_familiar
    features[SCALARS:] = 2.1
    assert not plain.judge(features).is_familiar


def test_calibrating_again_replaces_and_an_interruption_leaves_a_valid_checkpoint(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_manifest(directory)
    assert add_calibration(directory, calibration()) == first
    assert add_calibration(directory, calibration(seed=1)).digest != first.digest

    def fail(path: Path, calibration: Calibration) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("cloud_service.generator.checkpoint.store_calibration", fail)
    with pytest.raises(OSError, match="disk full"):
        add_calibration(directory, calibration())
    assert CONFIDENCE_FILE not in read_manifest(directory).files


def test_altered_or_missing_calibration_is_refused(directory: Path) -> None:
    path = directory / CONFIDENCE_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"confidence\.safetensors has sha256"):
        read_manifest(directory)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"lacks confidence\.safetensors"):
        read_manifest(directory)


def test_calibration_of_another_cloud_model_is_refused_when_loading(pair: Pair, directory: Path) -> None:
    """The digest fits, since whoever edits the manifest sees to that."""
    path = directory / CONFIDENCE_FILE
    store_calibration(path, calibration(FEATURES + 2))
    document = json.loads((directory / "generator.json").read_text())
    document["files"][CONFIDENCE_FILE] = file_sha256(path)
    (directory / "generator.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="expected finite") as refused:
        load_generator(directory, pair.cloud, pair.edge)
    assert refused.value.hint == "calibrate this generator again"


def test_calibration_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "confidence"
    path.write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_calibration(path, FEATURES)
    sound = regression()
    for broken in (
        Regression(sound.center, sound.scale, sound.weights, float("nan"), 1.0, 1.0),
        Regression(sound.center, -sound.scale, sound.weights, 0.0, 1.0, 1.0),
        Regression(sound.center, sound.scale, sound.weights, 0.0, 1.0, 0.0),
    ):
        store_calibration(path, Calibration(broken))
        with pytest.raises(CheckpointError, match="holds"):
            load_calibration(path, FEATURES)


@pytest.fixture(scope="module")
def choosing(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A pair with a choice head."""
    head = ChoiceHeadConfig(first_layer=1, rank=3)
    return make_pair(tmp_path_factory.mktemp("choosing"), choice=head, codes=tuple(range(40, 50)))


def test_closed_sets_have_a_regression_of_their_own(choosing: Pair, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(choosing.generator, tmp_path / "generator"))
    plain = load_generator(directory, choosing.cloud, choosing.edge)
    both = Calibration(regression(), regression(SET_FEATURES, seed=1))
    add_calibration(directory, both)
    generator = load_generator(directory, choosing.cloud, choosing.edge)
    asked = [
        Asked("Pick one.", choices, answer=AnswerContract("choice", tuple(choice.text for choice in choices)))
        for choices in SETS
    ]
    features = generator.measure_sets(SETS)
    assert features.shape == (2, SET_FEATURES)
    assert both.closed is not None
    for before, after, row in zip(plain.generate(asked), generator.generate(asked), features, strict=True):
        assert (before.confidence, after.confidence) == (None, both.closed.judge(row))
        assert before.keys is not None
        assert after.keys is not None
        assert before.keys.tobytes() == after.keys.tobytes()
    open_task = generator.generate([Asked(PROMPTS[0])])[0]
    assert open_task.confidence == both.open.judge(generator.measure(PROMPTS[:1])[0])


def test_calibration_without_closed_sets_is_refused_where_there_is_a_head_and_the_other_way_round(
    pair: Pair, choosing: Pair, tmp_path: Path
) -> None:
    for each, closed in ((choosing, None), (pair, regression(SET_FEATURES))):
        directory = Path(shutil.copytree(each.generator, tmp_path / each.generator.parent.name))
        add_calibration(directory, Calibration(regression(), closed))
        with pytest.raises(CheckpointError, match="expected finite") as refused:
            load_generator(directory, each.cloud, each.edge)
        assert refused.value.hint == "calibrate this generator again"


def test_features_of_a_set_tell_its_size_its_words_and_its_cosines() -> None:
    choices = [Choice("a", "abc", ("seen",)), Choice("b", "abcd"), Choice("c", "a")]
    x, y = torch.eye(4)[0], torch.eye(4)[1]
    meanings, judgements = torch.stack([x, 0.6 * x + 0.8 * y, y]), torch.stack([y, torch.eye(4)[3]])
    expected = [np.log(3), (np.log(3) + np.log(4)) / 3, 1 / 3, 1.4 / 3, 0.8, (0.6 + 0.8 + 0.8) / 3, 1.8 / 3]
    np.testing.assert_allclose(set_features(choices, meanings, judgements), expected, rtol=1e-5)
    assert set_features(choices[:1], meanings[:1], judgements)[SCALARS:].tolist() == [0, 0, 0, 0]
