"""Tasks of the suites from published collections: which held-out one is near to what training draws, and which is not.

Training draws the tasks that `training.data.families.instructions.is_seen` lets it draw. The others are told apart here by
what training has, so that `tasks-unseen` holds no skill that training had under another name:

- `SAME_TASK`: the second packing of a task that training draws (NaturalInstructions v1 and Super-NaturalInstructions
  share them), or a set whose texts training classifies under its own words: the same task in words never met.
- `SIBLINGS`: another data set, or another field of a set, of a skill that training draws; the seen one is named.
- Every other held-out task is unseen.

Labelled sets that no family reads are siblings or unseen, too: see `labelled_tasks`. An input that two tasks share has
one split, since the split follows from its text.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.corpus import SPLITS, Split, read_records, split_of
from training.data.episodes import Instance
from training.data.families.classify import LONGEST_TEXT
from training.data.families.instructions import DescribedTask
from training.evaluation.suites import wordings
from training.evaluation.suites.tasks import (
    Metric,
    SuiteSizes,
    SuiteTask,
    draw_balanced,
    draw_distinct,
    in_order,
    make_task,
)

FEWEST_INPUTS = 8
MOST_LABELS = 8
LONGEST_EXACT_WORDS = 3  # longer answers have many good wordings: ROUGE-L
LONGEST_PAIR = 400

SAME_TASK: dict[str, str] = {
    "task003_mctaco_question_generation_event_duration": "subtask003_mctaco_question_generation_event_duration",
    "task006_mctaco_question_generation_transient_stationary": "subtask006_mctaco_question_generation_...",
    "task012_mctaco_question_generation_absolute_timepoint": "subtask012_mctaco_question_generation_...",
    "task040_qasc_question_generation": "subtask040_qasc_question_generation",
    "subtask015_mctaco_question_generation_frequency": "task015_mctaco_question_generation_frequency",
    "induction_sentiment": "the phrases of the family classify",
}
SIBLINGS: dict[str, str] = {
    "task1508_wordnet_antonyms": "induction_antonyms",
    "task1479_organization_entity_extraction_btc_corpus": "task1453_person_entity_extraction_btc_corpus",
    "task1482_gene_extraction_chemprot_dataset": "task1480 and task1481, gene extraction",
    "task1483_chemical_extraction_chemprot_dataset": "task1447_drug_extraction_ade",
    "task1448_disease_entity_extraction_ncbi_dataset": "task1447_drug_extraction_ade",
    "task863_asdiv_multiop_question_answering": "task861 and task862, asdiv",
    "task745_ai2_arithmetic_questions_arithmetic": "task866 to task868, mawps",
    "task186_snli_contradiction_to_entailment_text_modification": "task184, task185, task187, snli",
    "task188_snli_neutral_to_entailment_text_modification": "task184, task187, task189, snli",
    "task203_mnli_sentence_generation": "task184 to task189, snli",
    "task111_asset_sentence_simplification": "task933_wiki_auto_style_transfer",
    "task129_scan_long_text_generation_action_command_short": "task127_scan_long_text_generation_action_command_all",
    "task152_tomqa_find_location_easy_noise": "task151_tomqa_find_location_easy_clean",
    "task770_pawsx_english_text_modification": "task132_dais_text_modification",
    "task1358_xlsum_title_generation": "task1342_amazon_us_reviews_title",
    "task589_amazonfood_summary_text_generation": "task1342_amazon_us_reviews_title",
    "task618_amazonreview_summary_text_generation": "task1342_amazon_us_reviews_title",
    "task215_rocstories_incorrect_answer_generation": "task216_rocstories_correct_answer_generation",
    "task615_moviesqa_answer_generation": "task898_freebase_qa_answer_generation",
    "task1581_eqasc-perturbed_answer_generation": "subtask041_qasc_answer_generation",
    "task389_torque_generate_temporal_question": "task1519_qa_srl_question_generation",
    "task596_mocha_question_generation": "task1580_eqasc-perturbed_question_generation",
    "task857_inquisitive_question_generation": "task1552_scitail_question_generation",
    "task1660_super_glue_question_generation": "task519_aquamuse_question_generation",
}


def published_task(
    rng: random.Random, task: DescribedTask, split: Split, sizes: SuiteSizes, kind: str = "instructions"
) -> SuiteTask | None:
    """A published task under its published descriptions; None when the split holds too few inputs."""
    every = [instance for name in SPLITS for instance in task.instances[name]]
    answers = {instance.output for instance in every}
    labels = sorted(answers) if len(answers) <= min(MOST_LABELS, len(every) // 20) else []
    draw = draw_balanced if labels else draw_distinct
    instances = draw(rng, task.instances[split], sizes.inputs)
    if len(instances) < min(FEWEST_INPUTS, sizes.inputs):
        return None
    words = statistics.median(len(instance.output.split()) for instance in every)
    metric: Metric = "exact" if labels or words <= LONGEST_EXACT_WORDS else "rouge_l"
    describe = in_order(task.descriptions, rng.randrange(len(task.descriptions)))
    practice = task.instances["train"]
    return make_task(rng, f"{kind}/{task.name}", describe, instances, practice, sizes.samples, labels, metric)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A labelled data set that training never draws.

    Attributes:
        sibling: Whether training has the skill.
        split: Tasks of this split are scored on it.
        labels: All its answers.
        descriptions: Ways to ask for it.
        instances: By split of the text.
    """

    name: str
    sibling: bool
    split: Split
    labels: tuple[str, ...]
    descriptions: tuple[str, ...]
    instances: dict[Split, list[Instance]]


_LEVELS = ("very negative", "negative", "neutral", "positive", "very positive")
_DESCRIBED: dict[str, tuple[bool, Split, tuple[str, ...], tuple[str, ...]]] = {
    # Training tells two sides of the same reviews, never the neutral ones and never five levels.
    "review-levels": (
        True,
        "test",
        _LEVELS,
        (
            "How does the customer feel? Choose one: very negative, negative, neutral, positive, very positive.",
            "Rate the review on five levels, from very negative over negative, neutral and positive to very positive.",
            "Label each review as very positive, positive, neutral, negative or very negative.",
        ),
    ),
    # App reviews: a set of short, informal reviews whose source training never reads.
    "app-reviews": (
        True,
        "test",
        ("bad", "good"),
        (
            "Decide whether the review of the app is bad or good.",
            "Classify the review into one of these labels: good, bad.",
            "Label each review as bad or good.",
        ),
    ),
    # Word in context: training has the packing of instruction-induction, in another layout and with other answers.
    "word-in-context": (True, "validation", ("False", "True"), wordings.SAME_SENSE),
    # Training has graded sentence similarity, not the duplicates of a forum.
    "duplicate-questions": (True, "test", ("False", "True"), wordings.DUPLICATE_QUESTIONS),
    "inference-mnli": (False, "test", ("neutral", "entailment", "contradiction"), wordings.NATURAL_LANGUAGE_INFERENCE),
    "inference-cb": (
        False,
        "validation",
        ("neutral", "entailment", "contradiction"),
        wordings.NATURAL_LANGUAGE_INFERENCE,
    ),
}
_PACKED = {
    "classify_WiC": "word-in-context",
    "classify_QQP": "duplicate-questions",
    "classify_MNLI": "inference-mnli",
    "classify_CB": "inference-cb",
    "classify_yelp": "review-levels",
    "classify_amazon": "review-levels",
}


def load_labelled_sets(data: Path) -> list[LabelledSet]:
    """The labelled sets that no training family reads, or reads in part; those that the data folder holds."""
    texts: dict[str, list[Instance]] = {name: [] for name in _DESCRIBED}
    for record in read_records(data / "tasks/described_tasks.jsonl.zst"):
        name = _PACKED.get(record["task"])
        if name is None:
            continue
        longest = LONGEST_TEXT if name == "review-levels" else LONGEST_PAIR
        for instance in record["instances"]:
            text, label = " ".join(instance["input"].split()), instance["outputs"][0]
            text = text.removeprefix("Text: ").removeprefix("Title: ").replace(" Text: ", ". ")
            if len(text) <= longest and label in _DESCRIBED[name][2]:
                texts[name].append(Instance(text, label))
    texts["app-reviews"] = list(_app_reviews(data))
    sets = []
    for name, (sibling, split, labels, descriptions) in _DESCRIBED.items():
        by: dict[Split, list[Instance]] = {s: [] for s in SPLITS}
        for found in sorted(set(texts[name]), key=lambda i: (i.input, i.output)):
            by[split_of(found.input)].append(found)
        if len(by[split]) >= FEWEST_INPUTS:
            sets.append(LabelledSet(name, sibling, split, labels, descriptions, by))
    return sets


def labelled_tasks(
    rng: random.Random, sets: Sequence[LabelledSet], sibling: bool, split: Split, sizes: SuiteSizes
) -> list[SuiteTask]:
    """A task for each labelled set of a kind that is scored in a split."""
    tasks = []
    for labelled in sets:
        if labelled.sibling == sibling and labelled.split == split:
            instances = draw_balanced(rng, labelled.instances[split], sizes.inputs)
            practice = labelled.instances["train"]
            tasks.append(
                make_task(
                    rng,
                    f"classify/{labelled.name}",
                    in_order(labelled.descriptions),
                    instances,
                    practice,
                    sizes.samples,
                    labelled.labels,
                )
            )
    return tasks


def _app_reviews(data: Path) -> list[Instance]:
    """Reviews out of one template of the T0 sample; three stars are neither bad nor good."""
    path = data / "tasks/t0_prompts.jsonl.zst"
    if not path.exists():
        return []
    found = []
    for record in read_records(path):
        if record["template"] == "app_reviews_convert_to_rating" and record["prompt"].count('"') >= 2:
            text = " ".join(record["prompt"].split('"', 1)[1].rsplit('"', 1)[0].split())
            stars = record["completion"].removesuffix("<|endoftext|>").strip()
            if 0 < len(text) <= LONGEST_TEXT and stars in {"1", "2", "4", "5"}:
                found.append(Instance(text, "good" if stars > "3" else "bad"))
    return found
