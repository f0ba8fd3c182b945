"""The report of a training, from the record that it leaves to the page in a browser."""

import base64
import dataclasses
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multihead.cli import main
from multihead.config.files import MANIFEST_FILE, OUT_OF_FOLD_FILE, PAGE_FILE, RECORD_FILE, REPORT_FOLDER
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings, settings_dict
from multihead.config.task import Task
from multihead.data.batches import TrainBatches
from multihead.data.shards import Shard
from multihead.data.thumbnails import thumbnail
from multihead.report.html import picture
from multihead.report.page import write_report
from multihead.runtime.errors import UserError
from multihead.scoring.measures import recall_per_class
from multihead.scoring.metrics import task_score
from multihead.scoring.out_of_fold import read_out_of_fold
from multihead.training.head_records import most_confused, recalls
from multihead.training.record import (
    LONGEST,
    HeldOut,
    Record,
    Samples,
    copy_record,
    make_record,
    read_record,
    save_record,
    take_samples,
)
from tests.built_in import BENGALI

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NAMES = ("cat & <dog>", "$x$ ক", "plain")
HEADS: dict[str, Any] = {"animal": NAMES, "digit_1": tuple(range(40))}
TASK = dataclasses.replace(BENGALI, heads=HEADS, image_shape=(60, 90, 1))
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 32, 40, 1), np.uint8)


def held_out_of(task: Task, truth: dict[str, Any], answered: dict[str, Any], images: Any = IMAGES) -> HeldOut:
    """Images that are answered with a probability that falls with their number."""
    sure = np.linspace(0.9, 0.6, len(images))[:, None]
    answers = {
        head: (sure * np.eye(len(classes))[answered[head]] + (1 - sure) / len(classes)).astype(np.float32)
        for head, classes in task.heads.items()
    }
    return HeldOut([f"id_{i}" for i in range(len(images))], truth, answers, lambda i: images[i], task, answered)


def labels_of(task: Task, count: int = 200) -> dict[str, Any]:
    return {head: RNG.integers(0, len(classes), count) for head, classes in task.heads.items()}


def samples_of(task: Task, model: ModelSettings, run: RunSettings) -> Samples:
    labels = labels_of(task, len(IMAGES))
    rows = np.stack([np.zeros(len(IMAGES), np.int64), np.arange(len(IMAGES))], 1)
    classes = {head: len(names) for head, names in task.heads.items()}
    batches = TrainBatches([IMAGES], rows, labels, classes, run, dark_ink=True, epoch=2, shard=0)
    full = np.full((3, *task.image_shape), 250, np.uint8)
    full[:, 10:40, 30:70] = 20
    return take_samples(batches, Shard([f"id_{i}" for i in range(200)], IMAGES, labels), full, task, model, 3)


def write_run(folder: Path, record: Record, **manifest: Any) -> None:
    save_record(folder, record)
    counts = {head: [5] * len(classes) for head, classes in HEADS.items()}
    defaults = {
        "model": settings_dict(ModelSettings(backbone="narrow", image_size=(32, 40), crop="ink")),
        "task": {"crop": "ink", "heads": {head: list(classes) for head, classes in HEADS.items()}},
        "train_counts": counts,
        "prior_exponents": {"animal": 0.5, "digit_1": 0.0},
        "score": {"total": 0.4321},
        "epoch": 2,
        "device": "CPU",
        "images_per_second": 1234.5,
        "versions": {"python": "3.12.1", "keras": "3.13.2"},
        "sha256": record.sha256,
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(defaults | manifest))
    history = ["epoch,loss,learning_rate,images_per_second,memory_gb,score,animal", "1,3,0.001,80,,0.2,0.3"]
    (folder / "history.csv").write_text("\n".join([*history, "2,2.5,0.0001,90,1.5,0.4321,0.5"]) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made run whose classes have awkward names, with its report."""
    folder = tmp_path_factory.mktemp("run")
    truth, answers = labels_of(TASK), labels_of(TASK)
    answers["animal"][:150] = truth["animal"][:150]
    samples = samples_of(TASK, ModelSettings(), RunSettings(batch_size=16))
    write_run(folder, make_record("abc", settings_dict(RunSettings()), held_out_of(TASK, truth, answers), samples))
    assert write_report(folder) == folder / REPORT_FOLDER / PAGE_FILE
    return folder


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("key", ["model", "task", "train_counts", "prior_exponents", "epoch", "versions", "sha256"])
def test_a_key_that_the_manifest_lacks_is_named(run: Path, tmp_path: Path, key: str) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / MANIFEST_FILE).read_text())
    del manifest[key]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=rf"manifest\.json: not a manifest of weights: no {key}$"):
        write_report(tmp_path)


def test_weights_without_a_score_and_a_speed_have_a_report(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / MANIFEST_FILE).read_text())
    for key in ("score", "images_per_second", "device"):
        del manifest[key]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(manifest))
    page = Page(write_report(tmp_path))
    assert "no held-out image was read" in page.text
    assert "images a second in inference" not in page.text


def test_a_history_and_a_manifest_that_an_editor_saved_anew_are_read(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    for name in (MANIFEST_FILE, "history.csv"):
        (tmp_path / name).write_text((run / name).read_text(), encoding="utf-8-sig")
    assert write_report(tmp_path).read_bytes() == (run / REPORT_FOLDER / PAGE_FILE).read_bytes()


def test_the_page_says_what_the_run_was_in_words_and_numbers(run: Path) -> None:
    page = Page(run / REPORT_FOLDER / PAGE_FILE)
    words = " ".join(page.text.split())
    for text in (
        *("bengali, narrow: 0.4321", "0.4321", "32 x 40 pixels, crop ink", "2 of 30", "saved epoch", "animal 0.5"),
        *("1,234 images a second in inference", "python 3.12.1", "learning_rate", "id_0"),
        *("Expected calibration error", "loss goes" if page.all("svg") else "No epoch"),
    ):
        assert text in words or any(text in str(label) for label in page.all("div")), text
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("svg")) == 2 + len(HEADS)


@pytest.mark.parametrize("score", ["macro recall", "accuracy"])
def test_the_standard_error_stands_beside_the_score_that_it_is_of(run: Path, tmp_path: Path, score: Any) -> None:
    record = read_record(run)
    truth, answers = ({head: np.repeat(rows[:, i], rows[:, 2]) for head, rows in record.counts.items()} for i in (0, 1))
    task = dataclasses.replace(TASK, score=score, score_weights={"animal": 3})
    reached = task_score(truth, answers, task)
    write_run(tmp_path, record, score=reached.as_dict())
    words = " ".join(Page(write_report(tmp_path)).text.split())
    assert f"{reached.present_total:.4f} ± {reached.standard_error:.4f} (standard error)" in words
    write_run(tmp_path, record, score=reached.as_dict() | {"total": 0.3})
    words = " ".join(Page(write_report(tmp_path)).text.split())
    assert "0.3000 On held-out" not in words
    assert f"{reached.present_total:.4f} ± {reached.standard_error:.4f} (standard error) over the classes" in words


def test_names_and_settings_in_any_script_are_readable_and_escaped(run: Path, tmp_path: Path) -> None:
    copy_record(run, tmp_path)
    write_run(
        tmp_path, dataclasses.replace(read_record(run), run={**read_record(run).run, "pretrained": "Größe <b> ক.h5"})
    )
    source = write_report(tmp_path).read_text(encoding="utf-8")
    assert "&#34;Größe &lt;b&gt; ক.h5&#34;" in source


def test_the_drawings_have_ids_of_their_own_and_no_style_for_the_page(run: Path) -> None:
    page = Page(run / REPORT_FOLDER / PAGE_FILE)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(page.all("style")) == 1


def test_the_page_begins_with_what_was_worst_and_ends_with_the_data(run: Path) -> None:
    source = (run / REPORT_FOLDER / PAGE_FILE).read_text(encoding="utf-8")
    order = ["classes", "pairs", "mistakes", "calibration", "settings", "learning", "data"]
    assert re.findall(r'<section id="(\w+)">', source) == order
    assert [link["href"] for link in Page(run / REPORT_FOLDER / PAGE_FILE).all("a")] == [f"#{name}" for name in order]


def test_only_settings_that_differ_from_the_defaults_are_shown_at_once(run: Path, tmp_path: Path) -> None:
    copy_record(run, tmp_path)
    record = read_record(run)
    write_run(tmp_path, dataclasses.replace(record, run=dict(record.run) | {"epochs": 7, "resume": "off"}))
    source = write_report(tmp_path).read_text(encoding="utf-8")
    section = source.partition('<section id="settings">')[2].partition("<details>")[0]
    assert re.findall(r"<code>(\w+)</code>", section) == ["backbone", "image_size", "epochs", "resume"]


def test_a_record_of_an_earlier_version_has_a_report_without_what_it_did_not_keep(run: Path, tmp_path: Path) -> None:
    write_run(tmp_path, read_record(run))
    path = tmp_path / REPORT_FOLDER / RECORD_FILE
    with np.load(path) as stored:
        arrays = dict(stored)
    header = json.loads(str(arrays["told"]))
    del header["worst"], header["calibration"]
    np.savez_compressed(path, **arrays | {"told": np.array(json.dumps(header))})
    (path.parent / "recall-old.png").touch()  # which that version drew
    text = Page(write_report(tmp_path)).text
    assert "Nothing was kept to compute it from." in text
    assert "Surest mistakes" in text
    assert "The red ones" not in text
    assert sorted(file.name for file in path.parent.iterdir()) == [PAGE_FILE, RECORD_FILE]


def test_the_worst_classes_have_images_that_were_wrong_the_surest_first() -> None:
    truth = {"animal": np.repeat([0, 1, 2], [60, 60, 80]), "digit_1": np.zeros(200, np.int64)}
    answers = {head: indices.copy() for head, indices in truth.items()}
    answers["animal"][:7], answers["animal"][60:62] = 2, 0
    record = make_record("", {}, held_out_of(TASK, truth, answers), None)
    assert [(one.truth, [answer for _, answer in one.wrong]) for one in record.worst["animal"]] == [
        (0, [2, 2, 2]),
        (1, [0, 0]),
    ]
    assert np.array_equal(record.images[[number for number, _ in record.worst["animal"][0].wrong]], IMAGES[:3])
    assert record.worst["digit_1"] == []


def test_the_calibration_counts_each_image_once() -> None:
    truth, answers = labels_of(TASK), labels_of(TASK)
    held_out = held_out_of(TASK, truth, answers)
    record = make_record("", {}, held_out, None)
    for head, bins in record.calibration.items():
        likeliest = held_out.probabilities[head].max(axis=1)
        assert bins[:, 0].sum() == len(IMAGES)
        assert bins[:, 1].sum() == pytest.approx(likeliest.sum())
        assert bins[:, 2].sum() == (truth[head] == answers[head]).sum()
        assert np.flatnonzero(bins[:, 0]).tolist() == sorted(set((likeliest * 10).astype(int)))


def test_class_texts_are_text_and_not_markup(run: Path) -> None:
    source = (run / REPORT_FOLDER / PAGE_FILE).read_text(encoding="utf-8")
    assert "<dog>" not in source
    assert "cat &amp; &lt;dog&gt;" in source
    assert "$x$ ক" in source


def test_the_page_needs_no_other_file_and_runs_no_script(run: Path) -> None:
    page = Page(run / REPORT_FOLDER / PAGE_FILE)
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.all("img"))
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "base")]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    source = re.sub(r"data:image/webp;base64,[^\"]+", "", (run / REPORT_FOLDER / PAGE_FILE).read_text(encoding="utf-8"))
    source = re.sub(r'xmlns(:xlink)?="[^"]*"', "", source)  # names of SVG's, which nobody opens
    assert not re.search(r"https?:|url\((?!#)|@import|file:", source)
    assert [meta["content"] for meta in page.all("meta") if "http-equiv" in meta] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]


def test_drawing_again_gives_the_same_page(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    write_report(again)
    files = [sorted(p.name for p in (folder / REPORT_FOLDER).iterdir()) for folder in (run, again)]
    assert files[0] == files[1]
    assert (run / REPORT_FOLDER / PAGE_FILE).read_bytes() == (again / REPORT_FOLDER / PAGE_FILE).read_bytes()


def test_the_record_counts_every_held_out_image_and_its_recall_is_that_of_the_metrics() -> None:
    truth, answers = labels_of(TASK), labels_of(TASK)
    counts = make_record("", {}, held_out_of(TASK, truth, answers), None).counts
    for head, rows in counts.items():
        dense = np.zeros((len(HEADS[head]),) * 2, np.int64)
        np.add.at(dense, (truth[head], answers[head]), 1)
        again = np.zeros_like(dense)
        again[rows[:, 0], rows[:, 1]] = rows[:, 2]
        assert np.array_equal(dense, again)
        recall, images = recalls(rows, len(HEADS[head]))
        assert np.array_equal(recall, recall_per_class(truth[head], answers[head], len(HEADS[head])), equal_nan=True)
        assert np.array_equal(images, dense.sum(axis=1))


def test_the_most_confused_pairs_are_shown_with_images_of_both_classes() -> None:
    truth = {"animal": np.repeat([0, 1, 2], [60, 60, 80]), "digit_1": np.zeros(200, np.int64)}
    answers = {head: indices.copy() for head, indices in truth.items()}
    answers["animal"][:7], answers["animal"][60:65] = 2, 0
    record = make_record("", {}, held_out_of(TASK, truth, answers), None)
    assert most_confused(record.counts["animal"]) == [(0, 2, 7), (1, 0, 5)]
    first = record.confusions["animal"][0]
    assert (first.truth, first.answer, first.images) == (0, 2, 7)
    assert np.array_equal(record.images[list(first.mistaken)], IMAGES[:3])  # the surest ones
    assert np.array_equal(record.images[list(first.others)], IMAGES[120:123])
    assert record.confusions["digit_1"] == []


def test_the_worst_mistakes_are_the_surest_wrong_answers_first() -> None:
    truth = labels_of(TASK)
    answers = {head: (indices + 1) % len(HEADS[head]) for head, indices in truth.items()}
    answers["animal"][[0, 2]] = truth["animal"][[0, 2]]
    mistakes = make_record("", {}, held_out_of(TASK, truth, answers), None).mistakes["animal"]
    assert [mistake.id for mistake in mistakes[:3]] == ["id_1", "id_3", "id_4"]
    assert all(mistake.truth != mistake.answer and mistake.probability > mistake.of_truth for mistake in mistakes)
    assert np.all(np.diff([mistake.probability for mistake in mistakes]) <= 0)


def test_samples_are_the_batches_that_training_gets_and_the_box_that_was_cut() -> None:
    run = RunSettings(batch_size=16, mixup_share=1.0, cutmix_share=0.0)
    samples = samples_of(TASK, ModelSettings(crop="ink"), run)
    assert samples.batches.shape == (6, 5, 32, 40, 1)
    assert len(np.unique(samples.batches[0, 0])) > 50
    labels = [shares or () for batch in samples.labels for shares in batch]
    assert any(len(shares) == 2 for shares in labels)
    assert all(sum(share for _, share in shares) == pytest.approx(1, abs=0.02) for shares in labels)
    red = np.argwhere((samples.full[0] == (220, 30, 30)).all(axis=2))
    assert [red.min(axis=0).tolist(), red.max(axis=0).tolist()] == [[10, 30], [39, 69]]
    plain = samples_of(TASK, ModelSettings(crop="none"), RunSettings(batch_size=16, mixup_share=0, cutmix_share=0))
    assert not (plain.full[0] == (220, 30, 30)).all(axis=2).any()
    assert all(len(shares or ()) == 1 for batch in plain.labels for shares in batch)


def test_a_record_is_small_whatever_the_data_is(tmp_path: Path) -> None:
    count = 20_000
    images = np.random.default_rng(0).integers(0, 256, (50, 300, 400, 3), np.uint8)
    task = dataclasses.replace(TASK, image_shape=(300, 400, 3))
    truth, answers = labels_of(task, count), labels_of(task, count)
    held_out = held_out_of(task, truth, answers, np.broadcast_to(images[0], (count, 300, 400, 3)))
    save_record(tmp_path, make_record("", {}, held_out._replace(crop=lambda i: images[i % 50]), None))
    assert (tmp_path / REPORT_FOLDER / RECORD_FILE).stat().st_size < 4e6
    assert max(read_record(tmp_path).images.shape[1:]) == LONGEST


def test_a_record_comes_back_as_it_was_and_is_handed_on(run: Path, tmp_path: Path) -> None:
    copy_record(run, tmp_path)
    one, other = read_record(run), read_record(tmp_path)
    assert one.mistakes == other.mistakes
    assert one.confusions == other.confusions
    assert one.samples is not None
    assert other.samples is not None
    assert one.samples.labels == other.samples.labels
    assert np.array_equal(one.images, other.images)


def test_whatever_byte_of_a_record_is_damaged_it_is_read_or_named(run: Path, tmp_path: Path) -> None:
    copy_record(run, tmp_path)
    path = tmp_path / REPORT_FOLDER / RECORD_FILE
    whole, messages = path.read_bytes(), set()
    for place in [*range(0, 400, 5), *range(400, len(whole), 2000), *range(len(whole) - 400, len(whole), 5)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read_record(tmp_path)
        except UserError as error:
            messages.add(str(error))
    assert any("decompressing data" in message for message in messages)
    assert all(message.startswith(f"{path}: not a readable record (") and "\n" not in message for message in messages)


def test_without_a_finished_epoch_or_a_held_out_image_the_page_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, make_record("abc", settings_dict(RunSettings()), None, None), score=None, epoch=1)
    (tmp_path / "history.csv").unlink()
    text = Page(write_report(tmp_path)).text
    assert "No epoch was finished" in text
    assert "No held-out image was read" in text
    assert "none was finished" in text


def test_weights_of_an_unfinished_epoch_have_a_report_too(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    manifest = json.loads((run / MANIFEST_FILE).read_text())
    (tmp_path / "run" / MANIFEST_FILE).write_text(json.dumps(manifest | {"epoch": 3}))
    page = Page(write_report(tmp_path / "run"))
    assert "3, unfinished" in page.text
    assert "The weights are of the next, unfinished epoch." in page.text


def test_where_all_is_right_the_page_says_so(tmp_path: Path) -> None:
    truth = labels_of(TASK)
    write_run(tmp_path, make_record("abc", settings_dict(RunSettings()), held_out_of(TASK, truth, truth), None))
    text = Page(write_report(tmp_path)).text
    assert "Every held-out image is right." in text
    assert "There is none." in text


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda run: shutil.rmtree(run / REPORT_FOLDER), r"record\.npz: not there; a training leaves it with its"),
        (lambda run: (run / REPORT_FOLDER / RECORD_FILE).write_bytes(b"cut"), r"record\.npz: not a readable record"),
        (lambda run: (run / MANIFEST_FILE).unlink(), r"manifest\.json: cannot be read"),
        (lambda run: (run / MANIFEST_FILE).write_text("{}"), r"manifest\.json: not a manifest of weights"),
        (
            lambda run: (run / MANIFEST_FILE).write_text('{"sha256": "of others"}'),
            r"is not of the weights that the rec",
        ),
        (lambda run: (run / "history.csv").write_text("epoch\nx\n"), r"history\.csv: not a history"),
        (
            lambda run: (run / "history.csv").write_text("epoch,loss\n3,3\n"),
            r"history\.csv: does not have epoch 2, whose weights were saved",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Any, message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    fault(folder)
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_an_odd_value_or_a_column_that_is_not_there_is_one_line(run: Path, tmp_path: Path) -> None:
    manifest = json.loads((run / MANIFEST_FILE).read_text())
    rows = [line.split(",") for line in (run / "history.csv").read_text().splitlines()]
    shutil.copytree(run / REPORT_FOLDER, tmp_path / REPORT_FOLDER)
    changes = [(manifest | {key: 5}, rows) for key in ("model", "task", "score")]
    changes.append((manifest | {"score": {"name": "R"}}, rows))
    changes += [(manifest, [row[:i] + row[i + 1 :] for row in rows]) for i in range(3)]
    lines: list[str] = []
    for changed, table in changes:
        (tmp_path / MANIFEST_FILE).write_text(json.dumps(changed))
        (tmp_path / "history.csv").write_text("\n".join(",".join(row) for row in table) + "\n")
        try:
            write_report(tmp_path)
        except UserError as error:
            lines.append(str(error))
    assert len(lines) == len(changes)
    assert all("\n" not in line and (MANIFEST_FILE in line or "history.csv" in line) for line in lines)


def test_an_image_on_the_page_keeps_its_pixels_in_gray_and_its_colours() -> None:
    def decoded(image: Any) -> Any:
        content = base64.b64decode(picture(image).partition("base64,")[2])
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)

    gray = IMAGES[0]
    assert np.array_equal(decoded(gray), np.repeat(gray, 3, axis=2))
    red = np.zeros((20, 10, 3), np.uint8)
    red[:, :, 0] = 250
    assert np.abs(decoded(red).astype(int) - (0, 0, 250)).max() < 8


def test_a_thumbnail_keeps_its_shape_and_is_never_larger() -> None:
    assert thumbnail(np.zeros((300, 100, 1), np.uint8), 96).shape == (96, 32, 1)
    assert thumbnail(np.zeros((30, 100, 3), np.uint8), 96).shape == (29, 96, 3)
    assert thumbnail(np.zeros((30, 10, 1), np.uint8), 96).shape == (30, 10, 1)


PROBE = """<!doctype html><body>
<iframe id=f style="width:%dpx;height:800px;border:0" srcdoc="%s"></iframe>
<script>
onload = () => {
  const page = document.getElementById("f").contentDocument;
  page.querySelectorAll("details").forEach(of => of.open = true);
  const images = [...page.images];
  document.title = JSON.stringify({
    window: page.documentElement.clientWidth,
    page: page.documentElement.scrollWidth,
    images: images.length,
    loaded: images.filter(of => of.complete && of.naturalWidth > 0).length,
    widest: Math.max(...images.map(of => of.getBoundingClientRect().right)),
  });
};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1600, 1280, 390, 360])
def test_in_a_browser_all_pictures_load_and_the_page_is_no_wider_than_the_window(
    run: Path, tmp_path: Path, width: int
) -> None:
    page = (run / REPORT_FOLDER / PAGE_FILE).read_text(encoding="utf-8")
    (tmp_path / "probe.html").write_text(PROBE % (width, html.escape(page)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1700,900"]
    command = [str(CHROMIUM), *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    address = (tmp_path / "probe.html").as_uri()
    done = subprocess.run([*command, address], capture_output=True, encoding="utf-8", timeout=120, check=True)
    dom = done.stdout
    assert "CONSOLE" not in done.stderr
    found = re.search(r"<title>(.*?)</title>", dom.split("<iframe")[0] + dom.rsplit("</iframe>", 1)[-1])
    assert found, dom[:500]
    measured = json.loads(html.unescape(found[1]))
    assert measured["images"] == measured["loaded"] > 50
    assert measured["page"] <= measured["window"] <= width
    assert measured["widest"] <= width


@pytest.mark.slow
def test_a_training_ends_with_the_report_of_its_saved_weights(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("backbone=narrow", "image_size=[32, 32]", "epochs=2", "batch_size=16", "validation_share=0.2")
    arguments = [part for setting in (*small, f"data={drawn}", f"working={tmp_path}") for part in ("--set", setting)]
    assert main(["train", *arguments]) == 0
    assert f"report: {tmp_path / REPORT_FOLDER / PAGE_FILE}" in capsys.readouterr().out
    manifest = json.loads((tmp_path / MANIFEST_FILE).read_text())
    record = read_record(tmp_path)
    assert record.sha256 == manifest["sha256"]
    answers = read_out_of_fold(tmp_path / OUT_OF_FOLD_FILE)
    assert answers.sha256 == manifest["sha256"]
    assert len(answers.ids) == round(0.2 * 192)
    assert record.run["epochs"] == 2
    recalls = []
    for rows in record.counts.values():
        assert rows[:, 2].sum() == round(0.2 * 192)
        each = [
            rows[(rows[:, 0] == c) & (rows[:, 1] == c), 2].sum() / rows[rows[:, 0] == c, 2].sum()
            for c in set(rows[:, 0])
        ]
        recalls.append(np.mean(each))
    assert np.average(recalls, weights=[2, 1, 1]) == pytest.approx(manifest["score"]["present_total"])
    assert record.samples is not None
    assert record.samples.full.shape == (8, 111, 192, 3)
    assert record.samples.batches.shape[1:] == (5, 32, 32, 1)
    assert (tmp_path / REPORT_FOLDER / RECORD_FILE).stat().st_size < 1e6
