"""What a person reads of a training, for each kind of head: its record, and its page."""

import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from multihead.config.files import MANIFEST_FILE, REPORT_FOLDER
from multihead.config.known_tasks import task_from
from multihead.config.model_settings import ModelSettings
from multihead.config.scores import score_of_answer
from multihead.config.settings import RunSettings, settings_dict
from multihead.config.task import Task, task_dict
from multihead.data.batches import TrainBatches
from multihead.data.shards import Shard
from multihead.data.targets import is_known, truth_of
from multihead.prediction.deciding import decided
from multihead.report.page import write_report
from multihead.scoring.metrics import task_score
from multihead.training.head_records import MISTAKES, POINTS, f1_per_class
from multihead.training.record import HeldOut, Record, Samples, make_record, read_record, save_record, take_samples
from tests.test_report import Page

COUNT = 300
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16, 3), np.uint8)
FINDINGS = ("scab", "rust", "frog_eye", "mildew")


def task_of(kind: str, classes: Any, answer: str, score: str = "", head: str = "what") -> Task:
    values = {
        "name": "own",
        "dataset": "a/b",
        "reader": "image files",
        "image_shape": [16, 16, 3],
        "train_files": "train/*",
        "labels_file": "train.csv",
        "test_files": "test/*",
        "heads": {head: {"kind": kind, "classes": classes} if classes else {"kind": kind}},
        "answer": answer,
        "score": score or score_of_answer(answer, kind),
    }
    return task_from(values, "task.toml")


def with_noise(truth: Any, width: int, kind: str, noise: float) -> Any:
    """Probabilities that are right the more often, the less noise there is; numbers near the truth."""
    rng = np.random.default_rng(1)
    if kind == "number":
        return (np.where(np.isfinite(truth), truth, 50) * 0.8 + 10 + rng.normal(0, 10 * noise, len(truth)))[:, None]
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-(4 * (truth > 0) - 2 + rng.normal(0, 2 * noise, truth.shape))))
    near = -np.abs(np.arange(width) - truth[:, None]) if kind == "ordinal" else np.eye(width)[truth]
    powers = np.exp(2 * near + noise * rng.normal(0, 1, (len(truth), width)))
    return powers / powers.sum(axis=1, keepdims=True)


def labels_of(task: Task, missing: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    labels: dict[str, Any] = {}
    for head, classes in task.heads.items():
        kind, is_missing = task.kind(head), rng.random(COUNT) < missing
        if kind == "number":
            labels[head] = np.where(is_missing, np.nan, rng.gamma(4, 10, COUNT).round())
        elif kind == "sigmoid":
            rows = rng.random((COUNT, len(classes))) < 1 / np.arange(2, len(classes) + 2)
            labels[head] = np.empty(COUNT, object)
            labels[head][:] = [
                None if gone else tuple(np.flatnonzero(row).tolist())
                for row, gone in zip(rows, is_missing, strict=True)
            ]
        else:
            labels[head] = np.where(is_missing, -1, rng.integers(0, len(classes), COUNT))
    return labels


def held_out_of(task: Task, missing: float = 0.0, noise: float = 1.0) -> HeldOut:
    truth = truth_of(labels_of(task, missing), task)
    probabilities = {
        head: with_noise(truth[head], task.width(head), task.kind(head), noise).astype(np.float32)
        for head in task.heads
    }
    answers = decided(probabilities, task)
    return HeldOut([f"id_{i}" for i in range(COUNT)], truth, probabilities, lambda i: IMAGES[i], task, answers)


def samples_of(task: Task, run: RunSettings, missing: float = 0.0) -> Samples:
    labels = labels_of(task, missing)
    rows = np.stack([np.zeros(COUNT, np.int64), np.arange(COUNT)], 1)
    widths = {head: task.width(head) for head in task.heads}
    batches = TrainBatches([IMAGES], rows, labels, widths, run, kinds=task.kinds, dark_ink=True, epoch=2, shard=0)
    return take_samples(batches, Shard(["a"], IMAGES[:1], labels), IMAGES[:1], task, ModelSettings(), 3)


def write_run(folder: Path, record: Record, task: Task, score: Any = None, **manifest: Any) -> None:
    folder.mkdir(exist_ok=True)
    save_record(folder, record)
    values = {
        "model": settings_dict(ModelSettings(task=task.name, backbone="narrow", image_size=(32, 32))),
        "task": task_dict(task),
        "train_counts": {head: [7] * len(classes) for head, classes in task.heads.items()},
        "prior_exponents": dict.fromkeys(task.heads, 0.0),
        "score": score and score.as_dict(),
        "epoch": 2,
        "device": "CPU",
        "images_per_second": 10.0,
        "versions": {"keras": "3"},
        "sha256": record.sha256,
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(values | manifest))
    heads = ",".join(task.heads)
    history = [f"epoch,loss,learning_rate,images_per_second,memory_gb,score,{heads}", "1,3,0.001,80,,20,20"]
    (folder / "history.csv").write_text("\n".join([*history, "2,2.5,0.0001,90,1.5,9.5,9.5"]) + "\n")


def page_of(folder: Path, task: Task, missing: float = 0.0, **manifest: Any) -> str:
    """Return the words of the page of a drawn training."""
    held_out = held_out_of(task, missing)
    samples = samples_of(task, RunSettings(batch_size=16), missing)
    record = make_record("abc", settings_dict(RunSettings()), held_out, samples)
    write_run(folder, record, task, task_score(held_out.truth, held_out.answers, task), **manifest)
    body = write_report(folder).read_text(encoding="utf-8").partition("<body>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


SETS = task_of("sigmoid", FINDINGS, "labels", "F1 macro")
KINDS = {
    "sets": SETS,
    "probabilities of several": task_of("sigmoid", FINDINGS, "probability", "ROC AUC"),
    "ordinal": task_of("ordinal", 5, "label", "quadratic kappa", "grade"),
    "number": task_of("number", (), "number", "RMSE", "age"),
    "probabilities of one": task_of("softmax", FINDINGS, "probability", "log loss"),
    "ranking": task_of("softmax", 30, "ranking 5"),
}


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_page_with_its_sections(tmp_path: Path, kind: str, missing: float) -> None:
    task = KINDS[kind]
    words = page_of(tmp_path, task, missing)
    source = (tmp_path / REPORT_FOLDER / "index.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section id="(\w+)">', source)
    of_kind = {
        "number": ["numbers", "mistakes"],
        "sigmoid": ["classes", "mistakes", "calibration"],
    }.get(task.kind(next(iter(task.heads))), ["classes", "pairs", "mistakes", "calibration"])
    assert sections == [*of_kind, "settings", "learning", "data"]
    assert re.findall(r'href="#(\w+)"', source.partition("</nav>")[0]) == sections
    assert ("of the held-out images have no " in words) == (missing > 0)
    assert ("less is better" in words) == (kind in ("number", "probabilities of one"))
    assert "nan" not in words.lower().split()


def test_of_sets_each_class_is_counted_as_scikit_learn_counts_it() -> None:
    held_out = held_out_of(SETS, missing=0.3)
    record = make_record("", {}, held_out, None)
    kept = record.sets["what"]
    known = is_known(held_out.truth["what"])
    truth, answers = held_out.truth["what"][known], held_out.answers["what"][known]
    there, answered, both = kept.classes[:, :3].T
    assert record.held_out == COUNT
    assert kept.images == known.sum() < COUNT
    assert both / answered == pytest.approx(precision_score(truth, answers, average=None))
    assert both / there == pytest.approx(recall_score(truth, answers, average=None))
    assert f1_per_class(kept.classes) == pytest.approx(f1_score(truth, answers, average=None))
    assert kept.area == ""
    assert np.isnan(kept.classes[:, 3]).all()


def test_of_probabilities_of_several_classes_the_area_of_each_is_kept() -> None:
    held_out = held_out_of(KINDS["probabilities of several"], missing=0.3)
    kept = make_record("", {}, held_out, None).sets["what"]
    known = is_known(held_out.truth["what"])
    areas = roc_auc_score(held_out.truth["what"][known], held_out.probabilities["what"][known], average=None)
    assert kept.area == "ROC AUC"
    assert kept.classes[:, 3] == pytest.approx(areas)
    assert kept.classes[:, 1].tolist() == (held_out.probabilities["what"][known] > 0.5).sum(axis=0).tolist()


def test_the_surest_mistakes_of_sets_are_both_what_was_missed_and_what_was_made_up() -> None:
    held_out = held_out_of(SETS, missing=0.3, noise=2)
    truth, shares, answers = held_out.truth["what"], held_out.probabilities["what"], held_out.answers["what"]
    record = make_record("", {}, held_out, None)
    missed, made_up = (
        [one for one in record.sets["what"].mistakes if one.is_there == there] for there in (True, False)
    )
    for mistakes, cells, order in (
        (missed, np.where((truth == 1) & ~answers, shares, 2), 1),
        (made_up, np.where((truth == 0) & answers, -shares, 2), -1),
    ):
        surest = np.argsort(cells.min(axis=1), kind="stable")[:MISTAKES]
        assert [one.id for one in mistakes] == [f"id_{row}" for row in surest]
        assert [one.label for one in mistakes] == cells[surest].argmin(axis=1).tolist()
        assert [one.probability for one in mistakes] == pytest.approx(order * cells[surest].min(axis=1), abs=1e-4)
        for one, row in zip(mistakes, surest.tolist(), strict=True):
            assert np.array_equal(record.images[one.image], IMAGES[row])


def test_the_worst_sets_have_images_that_were_missed_and_made_up() -> None:
    held_out = held_out_of(SETS)
    truth, shares = held_out.truth["what"], held_out.probabilities["what"]
    record = make_record("", {}, held_out, None)
    kept = record.sets["what"]
    f1 = f1_per_class(kept.classes)
    assert [one.label for one in kept.worst] == np.argsort(f1).tolist()
    worst = kept.worst[0]
    missed = np.flatnonzero((truth[:, worst.label] == 1) & (shares[:, worst.label] <= 0.5))
    least = missed[shares[missed, worst.label].argmin()]
    assert np.array_equal(record.images[worst.missed[0]], IMAGES[least])
    assert len(worst.wrong) == 3


def test_the_calibration_of_sets_counts_each_class_of_each_image_that_has_a_label() -> None:
    held_out = held_out_of(SETS, missing=0.3)
    bins = make_record("", {}, held_out, None).calibration["what"]
    known = is_known(held_out.truth["what"])
    assert bins[:, 0].sum() == known.sum() * len(FINDINGS)
    assert bins[:, 1].sum() == pytest.approx(held_out.probabilities["what"][known].sum())
    assert bins[:, 2].sum() == held_out.truth["what"][known].sum()


def test_of_numbers_the_errors_are_kept_and_the_largest_have_images() -> None:
    held_out = held_out_of(KINDS["number"], missing=0.3)
    record = make_record("", {}, held_out, None)
    kept, truth, answers = record.numbers["age"], held_out.truth["age"], held_out.answers["age"]
    errors = np.abs(answers - truth)
    assert kept.images == np.isfinite(truth).sum() < COUNT
    assert kept.mean_error == pytest.approx(np.nanmean(errors))
    assert kept.median_error == pytest.approx(np.nanmedian(errors))
    assert kept.bias == pytest.approx(np.nanmean(answers - truth))
    assert kept.of_median == pytest.approx(np.nanmean(np.abs(truth - np.nanmedian(truth))))
    assert len(kept.points) == min(POINTS, kept.images)
    assert sum(row[0] for row in kept.bins) == kept.images
    assert np.average([row[3] for row in kept.bins], weights=[row[0] for row in kept.bins]) == pytest.approx(
        kept.mean_error
    )
    largest = np.argsort(-np.nan_to_num(errors))[:MISTAKES]
    assert [one.id for one in kept.mistakes] == [f"id_{row}" for row in largest]
    assert np.array_equal(record.images[kept.mistakes[0].image], IMAGES[largest[0]])


def test_images_without_a_label_count_nowhere() -> None:
    held_out = held_out_of(KINDS["ordinal"], missing=0.3)
    known = is_known(held_out.truth["grade"])
    record = make_record("", {}, held_out, None)
    assert record.counts["grade"][:, 2].sum() == known.sum() < record.held_out
    assert record.counts["grade"].min() >= 0
    assert record.calibration["grade"][:, 0].sum() == known.sum()
    truth, probabilities, answers = (
        {"grade": of["grade"][known]} for of in (held_out.truth, held_out.probabilities, held_out.answers)
    )
    only = held_out._replace(truth=truth, probabilities=probabilities, answers=answers)
    assert np.array_equal(make_record("", {}, only, None).counts["grade"], record.counts["grade"])


def test_where_no_held_out_image_has_a_label_the_page_says_so(tmp_path: Path) -> None:
    for number, task in enumerate((SETS, KINDS["ordinal"], KINDS["number"])):
        record = make_record("abc", settings_dict(RunSettings()), held_out_of(task, missing=1.0), None)
        assert [*record.counts, *record.sets, *record.numbers] == []
        write_run(tmp_path / str(number), record, task)
        assert "No held-out image has a label" in Page(write_report(tmp_path / str(number))).text


def test_cut_points_decide_which_answers_of_an_order_are_counted() -> None:
    held_out = held_out_of(KINDS["ordinal"])
    answers = decided(held_out.probabilities, held_out.task, cut_points={"grade": (0.2, 0.4, 0.6, 0.8)})
    counts = make_record("", {}, held_out._replace(answers=answers), None).counts["grade"]
    assert np.bincount(counts[:, 1], counts[:, 2], 5).tolist() == np.bincount(answers["grade"], minlength=5).tolist()
    assert counts[counts[:, 1] == 4, 2].sum() > COUNT / 3


def test_of_probabilities_and_rankings_the_likeliest_class_is_counted() -> None:
    for kind in ("probabilities of one", "ranking"):
        held_out = held_out_of(KINDS[kind])
        counts = make_record("", {}, held_out, None).counts["what"]
        likeliest = held_out.probabilities["what"].argmax(axis=1)
        assert counts[counts[:, 0] == counts[:, 1], 2].sum() == (likeliest == held_out.truth["what"]).sum()


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_each_kind_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    record = make_record("abc", settings_dict(RunSettings()), held_out_of(KINDS[kind], missing=0.1), None)
    save_record(tmp_path, record)
    again = read_record(tmp_path)
    assert again.held_out == record.held_out
    for head, kept in record.sets.items():
        assert np.array_equal(again.sets[head].classes, kept.classes, equal_nan=True)
        assert again.sets[head]._replace(classes=np.zeros(0)).mistakes == kept.mistakes
        assert again.sets[head].worst == kept.worst
        assert (again.sets[head].images, again.sets[head].area) == (kept.images, kept.area)
    for head, numbers in record.numbers.items():
        assert [tuple(point) for point in again.numbers[head].points] == list(numbers.points)
        assert again.numbers[head].mistakes == numbers.mistakes
        assert again.numbers[head].mean_error == numbers.mean_error
    assert again.mistakes == record.mistakes
    assert all(np.array_equal(again.counts[head], rows) for head, rows in record.counts.items())


def test_a_record_without_the_keys_of_this_version_is_read(tmp_path: Path) -> None:
    record = make_record("abc", settings_dict(RunSettings()), held_out_of(KINDS["ordinal"], missing=0.1), None)
    save_record(tmp_path, record)
    path = tmp_path / REPORT_FOLDER / "record.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    header = json.loads(str(arrays["told"]))
    for key in ("held_out", "sets", "numbers"):
        del header[key]
    np.savez_compressed(path, **arrays | {"told": np.array(json.dumps(header))})
    again = read_record(tmp_path)
    assert again.held_out == record.counts["grade"][:, 2].sum()
    assert not again.sets
    assert not again.numbers


def test_the_labels_of_a_batch_are_classes_with_shares_or_a_number() -> None:
    plain = RunSettings(batch_size=16, mixup_share=0, cutmix_share=0)
    mixed = RunSettings(batch_size=16, mixup_share=1.0, cutmix_share=0)

    def labels(task: Task, run: RunSettings, missing: float = 0.0) -> list[Any]:
        return [label for batch in samples_of(task, run, missing).labels for label in batch]

    ordinal = KINDS["ordinal"]
    assert all(len(label) == 1 and label[0][1] == 1 and 0 <= label[0][0] < 5 for label in labels(ordinal, plain))
    assert {label[0][0] for label in labels(ordinal, plain)} == {0, 1, 2, 3, 4}
    assert all(sum(share for _, share in label) == pytest.approx(1, abs=0.02) for label in labels(ordinal, mixed))
    assert all(label == [(0, round(label[0][1]))] for label in labels(KINDS["number"], plain))
    assert {len(label) for label in labels(SETS, plain)} >= {0, 1, 2}
    for task in (SETS, ordinal, KINDS["number"]):
        assert 0 < sum(label is None for label in labels(task, plain, 0.4)) < 30


def test_hundreds_of_classes_make_a_page_that_names_some(tmp_path: Path) -> None:
    many = task_of("sigmoid", 600, "labels", "F1 micro")
    words = page_of(tmp_path, many, thresholds={"what": [0.3] * 600})
    assert re.search(r"Without a held-out image: \d+, .*\(\d+ in all\)\.", words)
    assert "thresholds what 0.3 to 0.3" in words


def test_what_was_chosen_on_the_held_out_images_is_told(tmp_path: Path) -> None:
    cut = page_of(tmp_path / "cut", KINDS["ordinal"], cut_points={"grade": [0.5, 1.25, 2.5, 3.5]})
    assert "cut points grade 0.5 1.25 2.5 3.5" in cut
    assert "cut points, they turn its expected class into the prediction" in cut
    sets = page_of(tmp_path / "sets", SETS, thresholds={"what": [0.125, 0.25, 0.5, 0.75]})
    assert "thresholds what 0.125 0.25 0.5 0.75" in sets
    assert "prior exponents" not in sets
    one = page_of(tmp_path / "one", KINDS["probabilities of one"], temperatures={"what": 1.21})
    assert "temperatures what 1.21" in one


def test_how_many_images_were_trained_on_is_told(tmp_path: Path) -> None:
    assert "images trained on 35 " in page_of(tmp_path / "before", KINDS["ordinal"])  # as an earlier version told it
    for name in ("ordinal", "number"):
        assert "images trained on 100 " in page_of(tmp_path / name, KINDS[name], train_images=100)


def test_heads_of_every_kind_stand_on_one_page(tmp_path: Path) -> None:
    heads = {"breed": ("cat", "dog"), "marks": FINDINGS, "grade": (0, 1, 2), "age": ()}
    kinds: Any = {"marks": "sigmoid", "grade": "ordinal", "age": "number"}
    task = dataclasses.replace(KINDS["ordinal"], heads=heads, kinds=kinds)
    held_out = held_out_of(task, missing=0.2)
    numbers, sets = held_out.probabilities["age"][:, 0].astype(np.float64), held_out.probabilities["marks"] > 0.5
    held_out = held_out._replace(answers={**held_out.answers, "age": numbers, "marks": sets})
    record = make_record("abc", settings_dict(RunSettings()), held_out, None)
    write_run(tmp_path, record, task)
    page = Page(write_report(tmp_path))
    words = " ".join(page.text.split())
    assert [link["href"] for link in page.all("a")][:5] == [
        *("#classes", "#pairs", "#numbers", "#mistakes", "#calibration")
    ]
    for head in heads:
        assert re.search(rf"\d+ of the held-out images have no label of {head}, ", words), head
    assert len({attributes["id"] for _, attributes in page.tags if "id" in attributes}) == len(
        [attributes for _, attributes in page.tags if "id" in attributes]
    )
