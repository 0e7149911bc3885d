"""Questions with a closed set of answers: what of a prompt is the question, and which are left out."""

from pathlib import Path

from tests.training.data.families.drawing import draw
from tests.training.packed import texts_of, write_records
from training.data.corpus import SPLITS
from training.data.families import Sources, load_mixture
from training.data.families.questions import load_questions


def records(template: str, prompt: str, answers: tuple[str, ...], of_each: int = 9) -> list[dict[str, str]]:
    found = []
    for split in SPLITS:
        for number, text in enumerate(texts_of(split, of_each * len(answers), "note {}".format)):
            answer = f"{answers[number % len(answers)]}<|endoftext|>"
            found.append({"template": template, "prompt": prompt.format(text), "completion": answer})
    return found


def loaded(folder: Path, *templates: list[dict[str, str]]) -> list[str]:
    write_records(folder / "tasks/t0_prompts.jsonl.zst", [record for each in templates for record in each])
    return [question.name for question in load_questions(folder)]


def test_question_is_what_all_prompts_share(tmp_path: Path) -> None:
    whole = records("reviews_tone", "Read this.\nReview: {}\nIs it good or bad?", ("good", "bad"))
    assert loaded(tmp_path, whole) == ["reviews_tone"]
    (question,) = load_questions(tmp_path)
    assert question.text == "Read this. Review: note Is it good or bad?"
    assert {split: sorted(by) for split, by in question.inputs.items()} == {split: ["bad", "good"] for split in SPLITS}
    assert question.inputs["train"]["good"][0].isdecimal()


def test_open_answers_short_questions_and_test_sets_are_left_out(tmp_path: Path) -> None:
    open_answers = records("reviews_title", "Give it a title: {}", tuple(map(str, range(20))), 1)
    one_label = records("reviews_same", "Is it good or bad? {}", ("good",))
    no_question = records("reviews_bare", "Tone: {}", ("good", "bad"))
    test_set = records("glue_qqp_same", "Do both of them mean the same? {}", ("yes", "no"))
    reasoning = records("cosmos_qa_yes", "Does it follow from the text? {}", ("yes", "no"))
    rare = records("reviews_rare", "Is it good or bad or odd? {}", ("good", "bad"))[:-1]
    rare += records("reviews_rare", "Is it good or bad or odd? {}", ("odd",))[:1]
    assert loaded(tmp_path, open_answers, one_label, no_question, test_set, reasoning, rare) == []


def test_labels_are_drawn_alike_and_unseen_sets_never(data: Path) -> None:
    mixture = load_mixture(Sources(data), weights={"questions": 1.0})
    for split in SPLITS:
        episodes = draw(mixture, "questions", split, 60)
        assert {episode.name for episode in episodes} == {"questions/shop_tone"}
        assert {episode.labels for episode in episodes} == {("bad", "good")}
        outputs = [i.output for episode in episodes for i in episode.instances]
        assert 0.3 < outputs.count("bad") / len(outputs) < 0.7
        listed = [episode for episode in episodes if "bad, good" in episode.task.description]
        assert 0 < len(listed) < len(episodes)
