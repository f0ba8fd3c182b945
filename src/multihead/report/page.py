"""A training as one page of pictures and tables: how it went, what the network confuses, what it was given.

Everything is drawn from the record that the training left (record.py), history.csv and manifest.json; the data is not
needed again. The page holds its pictures in itself, and nothing of it is loaded from elsewhere.
"""

import base64
import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.files import HISTORY_FILE, MANIFEST_FILE, PAGE_FILE, REPORT_FOLDER
from multihead.data.thumbnails import Image
from multihead.report.pictures import WIDTH, Row, drawing, png, sheet, shortened
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_text
from multihead.runtime.whole_files import whole_file
from multihead.scoring.metrics import recall_per_class
from multihead.training.record import EXAMPLES, Confusion, Record, most_confused, read_record

OF_EACH_MANIFEST = ("model", "task", "train_counts", "prior_exponents", "epoch", "versions", "sha256")
WORST = 12  # classes that are named
FEW = 24  # classes, up to which all of them are named in the picture
PAIRS = 20  # of classes, in a table

History = Mapping[str, NDArray[np.float64]]


class Run(NamedTuple):
    """What a working folder holds of a training. history: a column per heading of history.csv, float64 (epochs,).

    pictures: the PNG files of its report, by their names, as far as they are drawn.
    """

    manifest: Mapping[str, Any]
    record: Record
    history: History
    pictures: dict[str, bytes]

    def classes(self, head: str) -> list[str]:
        return [str(label) for label in self.manifest["task"]["heads"][head]]

    def figure(self, name: str, content: bytes, alt: str, caption: str) -> str:
        """Keep a picture, and return it as HTML. alt: what it shows in words. caption: how to read it."""
        self.pictures[name] = content
        height = int.from_bytes(content[20:24])  # of the PNG header
        source = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
        return (
            f'<figure><img src="{source}" width="{WIDTH}" height="{height}" alt="{escape(alt)}">\n'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        )


def write_report(folder: Path) -> Path:
    """Draw what a training left in its working folder, and return the page.

    Raises UserError where the record or the manifest is missing or damaged, where they or history.csv are not of the
    same weights, or where matplotlib is not installed.
    """
    run = _read_run(folder)
    try:
        score, model = run.manifest["score"], run.manifest["model"]
        title = f"{model['task']}, {model['backbone']}" + (f": score {score['total']:.4f}" if score else "")
        sections = _sections(run)
    except ImportError as error:
        raise UserError(f"matplotlib is needed to draw: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # a key or a column is not there, or odd
        files = f"{MANIFEST_FILE} and {HISTORY_FILE}"
        raise UserError(f"{folder}: {files} are not what a training leaves ({error!r})") from error
    out = folder / REPORT_FOLDER
    for stale in out.glob("*.png"):
        stale.unlink()
    for name, content in run.pictures.items():
        (out / name).write_bytes(content)
    with whole_file(out / PAGE_FILE) as new:
        new.write_text(_page(title, sections), encoding="utf-8")
    return out / PAGE_FILE


def _sections(run: Run) -> list[tuple[str, str]]:
    """Return each section of the page: its heading, and its HTML."""
    counts = run.record.counts
    of_recall = _paragraph(
        "The recall of a class is the share of its held-out images that are answered so. Few images say little: of "
        "three images, a recall is 0, 1/3, 2/3 or 1."
    )
    no_recall = "No held-out image was read, so no class has a recall."
    wrong = [head for head, mistakes in run.record.mistakes.items() if mistakes]
    return [
        ("What it was", _facts(run)),
        ("How it learned", _learning(run)),
        ("What each class reaches", (of_recall if counts else "") + _of_heads(_classes, run, counts, no_recall)),
        ("What is taken for what", _of_heads(_confusions, run, counts, "No held-out image was read.")),
        ("Where it was surest and wrong", _of_heads(_mistakes, run, wrong, "There is none.")),
        ("From the file to the crop", _crops(run)),
        ("What it was trained on", _batches(run)),
    ]


def _of_heads(part: Callable[[Run, str], str], run: Run, heads: Iterable[str], otherwise: str) -> str:
    """Return what is to be shown of each head, under its name; where there is none, a paragraph."""
    return "".join(f"<h3>{escape(head)}</h3>{part(run, head)}" for head in heads) or _paragraph(otherwise)


def _read_run(folder: Path) -> Run:
    record = read_record(folder)
    path = folder / MANIFEST_FILE
    try:
        manifest = {"score": None, "device": "", "images_per_second": None} | json.loads(read_text(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a manifest of weights ({error!r})") from error
    if manifest.get("sha256", record.sha256) != record.sha256:
        raise UserError(f"{path}: is not of the weights that the record in {REPORT_FOLDER}/ tells of")
    for key in OF_EACH_MANIFEST:
        if key not in manifest:
            raise UserError(f"{path}: not a manifest of weights: no {key}")
    history = _read_history(folder / HISTORY_FILE)
    epoch = manifest["epoch"]
    epochs = history.get("epoch", np.zeros(0))
    if history and epoch not in (*epochs, *epochs[-1:] + 1):  # the next one may be unfinished
        raise UserError(f"{folder / HISTORY_FILE}: does not have epoch {epoch}, whose weights were saved")
    return Run(manifest, record, history, {})


def _read_history(path: Path) -> History:
    """Return the columns of history.csv; none where no epoch was finished."""
    if not path.is_file():
        return {}
    try:
        rows = list(csv.DictReader(read_text(path).splitlines()))
        return {key: np.array([float(row[key] or "nan") for row in rows]) for key in (rows[0] if rows else ())}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: not a history ({error})") from error


def _facts(run: Run) -> str:
    manifest, record = run.manifest, run.record
    model, of_run, score = manifest["model"], record.run, manifest["score"]
    epochs = len(run.history.get("epoch", ()))
    height, width = model["image_size"]
    counts = next(iter(record.counts.values()), None)
    speed = manifest["images_per_second"]
    facts = [
        ("task", model["task"]),
        ("backbone", model["backbone"]),
        ("image size", f"{height} x {width} pixels, crop {model['crop']}"),
        ("epochs", f"{epochs} of {of_run['epochs']}"),
        ("saved epoch", _saved_in_words(manifest["epoch"], epochs)),
        ("score", _score_in_words(score) if score else "none: no held-out image was read"),
        (
            "prior exponents",
            ", ".join(f"{head} {exponent:g}" for head, exponent in manifest["prior_exponents"].items()),
        ),
        ("images trained on", f"{sum(next(iter(manifest['train_counts'].values()))):,}"),
        ("images held out", f"{0 if counts is None else int(counts[:, 2].sum()):,}"),
        ("device", manifest["device"] + (f", where it answers {speed:,.0f} images a second" if speed else "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())),
    ]
    heads = [_head_row(run, head) for head in record.counts]
    text = _table(None, facts)
    if heads:
        text += _paragraph(
            "The held-out images were not trained on. Macro recall here is the mean of the recalls of all classes that "
            "they show, by which the saved epoch was chosen; the score counts as 0 a class that they do not show, but "
            "that an image was taken for. Accuracy is the share of the images that are right. All are of the "
            "answers that the score takes: each probability is divided by its class's train images to the power of the "
            "prior exponent."
        )
        text += _table(
            ["head", "macro recall of the classes shown", "accuracy", "classes shown", "classes", "worst class"], heads
        )
    settings = [[key, json.dumps(value)] for key, value in of_run.items()]
    return text + _details("All settings of the run", _table(["setting", "value"], settings))


def _saved_in_words(epoch: int, finished: int) -> str:
    if not finished:
        return "none was finished"
    return str(epoch) if epoch <= finished else f"{epoch}, unfinished"


def _score_in_words(score: Mapping[str, Any]) -> str:
    present = score.get("present_total", score["total"])
    other = f"; {present:.4f} over the classes that they show" if present != score["total"] else ""
    return f"{score['total']:.4f} on the held-out images{other}"


def _head_row(run: Run, head: str) -> list[str]:
    counts, names = run.record.counts[head], run.classes(head)
    recall, images = _recalls(counts, len(names))
    right = counts[counts[:, 0] == counts[:, 1], 2].sum()
    worst = _worst_first(recall, images)[0]
    return [
        head,
        f"{np.nanmean(recall):.4f}",
        f"{right / counts[:, 2].sum():.4f}",
        str(int((images > 0).sum())),
        str(len(names)),
        f"{names[worst]}: {recall[worst]:.4f} of {images[worst]} images",
    ]


def _learning(run: Run) -> str:
    history = run.history
    if not history:
        return _paragraph("No epoch was finished, so there is nothing to draw over epochs.")
    columns = {key: column.tolist() for key, column in history.items()}
    saved = columns["epoch"].index(run.manifest["epoch"]) if run.manifest["epoch"] in columns["epoch"] else None
    of_saved = "the weights are of the next, unfinished one"
    if saved is not None:
        of_saved = f"the score of the saved epoch, {saved + 1}, is {columns['score'][saved]:.4f}"
    heads = [head for head in run.manifest["task"]["heads"] if head in history]
    losses = [(head, f"{head}_loss") for head in run.manifest["task"]["heads"] if f"{head}_loss" in history]
    first, last = columns["loss"][0], columns["loss"][-1]
    text = run.figure(
        "learning.png",
        _draw_learning(history, heads, losses, saved),
        f"Loss, score and learning rate over {len(history['epoch'])} epochs: the loss goes from {first:.3f} to "
        f"{last:.3f}; {of_saved}.",
        "Loss of the train images, as augmented and mixed, so it need not come near 0; score of the held-out "
        "images; learning rate at each epoch's end. The dotted line is the epoch whose weights were saved. "
        "A score that falls while the loss still falls: the network learns its train images by heart. "
        "A score that still rises at the end: more epochs may help.",
    ) + run.figure(
        "speed.png",
        _draw_speed(history),
        f"Speed and memory over the epochs: {columns['images_per_second'][-1]:.0f} images a second"
        + (f" and {columns['memory_gb'][-1]:.2f} GB" if "memory_gb" in columns else "")
        + " in the last.",
        "Images trained in a second, and the memory of the process at each epoch's end. The first epoch also reads "
        "the files and compiles the network. Memory that rises with every epoch will end at the machine's limit.",
    )
    rows = [[_number(column[row]) for column in history.values()] for row in range(len(history["epoch"]))]
    return text + _details("The numbers of every epoch", _table(list(history), rows))


def _draw_learning(
    history: History, heads: Sequence[str], losses: Sequence[tuple[str, str]], saved: int | None
) -> bytes:
    with drawing(1500) as figure:
        loss, score, rate = figure.subplots(3, sharex=True, height_ratios=(3, 3, 2))
        present = [("all heads, over the classes shown", "score_present")] if "score_present" in history else []
        epochs = history["epoch"]
        for axes, total, lines in (
            (loss, "loss", losses),
            (score, "score", [(head, head) for head in heads] + present),
        ):
            axes.plot(epochs, history[total], "k.-", label="all heads")
            for name, key in lines if len(lines) > 1 else ():
                axes.plot(epochs, history[key], ".-", label=shortened(name, 420), linewidth=1)
            axes.set_ylabel(total)
        if len(heads) > 1:
            figure.legend(*score.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
        rate.plot(epochs, history["learning_rate"], "k.-")
        rate.set(ylim=(0, None), ylabel="learning rate", xlabel="epoch")
        rate.xaxis.get_major_locator().set_params(integer=True)
        for axes in (loss, score, rate):
            if saved is not None:
                axes.axvline(epochs[saved], color="0.5", linestyle=":")
            axes.grid(alpha=0.3)
        return png(figure)


def _draw_speed(history: History) -> bytes:
    lines = [("images_per_second", "images a second")]
    lines += [("memory_gb", "memory (GB)")] if "memory_gb" in history else []
    with drawing(450 * len(lines)) as figure:
        grid = figure.subplots(len(lines), sharex=True, squeeze=False)[:, 0]
        for axes, (key, name) in zip(grid, lines, strict=True):
            axes.plot(history["epoch"], history[key], "k.-")
            axes.set(ylim=(0, 1.1 * np.nanmax(history[key]) or 1), ylabel=name)
            axes.grid(alpha=0.3)
        grid[-1].set_xlabel("epoch")
        grid[-1].xaxis.get_major_locator().set_params(integer=True)
        return png(figure)


def _classes(run: Run, head: str) -> str:
    names, trained = run.classes(head), run.manifest["train_counts"][head]
    recall, images = _recalls(run.record.counts[head], len(names))
    order = _worst_first(recall, images)
    shown = min(WORST, len(order))
    above = f" Above, each bar is one of {len(order)} classes; the {shown} red ones are named below."
    worst = ", ".join(f"{names[i]} {recall[i]:.2f}" for i in order[:3])
    header = ["class", "recall", "held out", "trained on"]
    rows = [[names[i], f"{recall[i]:.4f}", str(images[i]), str(trained[i])] for i in order]
    text = run.figure(
        f"recall-{_file_name(head)}.png",
        _draw_recall(names, recall, images, order),
        f"Recall of {len(order)} classes of {head}, sorted; the least: {worst}.",
        f"Recall of {head}, the worst class first.{above if len(order) > FEW else ''} "
        "The dashed line is the mean. Behind a name stands how many held-out images the class has.",
    ) + _table(header, rows[:shown])
    if len(rows) > shown:
        text += _details(f"All {len(rows)} classes of {head}", _table(header, rows))
    if absent := [name for name, count in zip(names, images, strict=True) if not count]:
        text += _paragraph(f"Without a held-out image: {', '.join(absent)}.")
    return text


def _draw_recall(
    names: Sequence[str], recall: NDArray[np.float64], images: NDArray[np.int64], order: Sequence[int]
) -> bytes:
    named = order if len(order) <= FEW else order[:WORST]
    values = recall[list(order)]
    with drawing(140 + 52 * len(named) + (560 if len(order) > FEW else 0)) as figure:
        if len(order) > FEW:
            every, worst = figure.subplots(2, height_ratios=(440, 52 * len(named)))
            colours = ["#b3372f" if i < len(named) else "#7d9cc0" for i in range(len(order))]
            every.bar(range(1, len(order) + 1), values, width=0.8, color=colours)
            every.axhline(values.mean(), color="0.3", linestyle="--", linewidth=1)
            every.set(xlabel="classes, sorted by recall", ylabel="recall", ylim=(0, 1), xlim=(0, len(order) + 1))
        else:
            worst = figure.subplots()
        places = np.arange(len(named))[::-1]
        worst.barh(places, recall[list(named)], color="#b3372f" if len(order) > FEW else "#7d9cc0", height=0.7)
        worst.set_yticks(places, [f"{shortened(names[i], 350)} ({images[i]})" for i in named])
        worst.axvline(values.mean(), color="0.3", linestyle="--", linewidth=1)
        for place, i in zip(places.tolist(), named, strict=True):
            worst.text(recall[i] + 0.01, place, f"{recall[i]:.2f}", va="center", fontsize="small")
        worst.set(xlabel="recall", xlim=(0, 1.1), xticks=np.linspace(0, 1, 6), ylim=(-0.6, len(named) - 0.4))
        return png(figure)


def _confusions(run: Run, head: str) -> str:
    names, counts, confusions = run.classes(head), run.record.counts[head], run.record.confusions[head]
    pairs = most_confused(counts)
    if not pairs:
        return _paragraph("Every held-out image is right.")
    _, images = _recalls(counts, len(names))
    rows = [
        [names[truth], names[answer], str(count), str(images[truth]), f"{count / images[truth]:.1%}"]
        for truth, answer, count in pairs[:PAIRS]
    ]
    return run.figure(
        f"confused-{_file_name(head)}.png",
        _draw_confusions(confusions, run.record, names, images),
        f"Images of the {len(confusions)} most confused pairs of {head}; the table below has their numbers.",
        "Each row is a pair. On the left are images of the first class that were taken for the second, those "
        "with the surest answers; on the right, images of the second. Where both sides look alike, the pair is "
        "hard or a label is wrong; where they do not, there may be too few images of one to learn from.",
    ) + _table(["class", "taken for", "images", "of", "share"], rows)


def _draw_confusions(
    confusions: Sequence[Confusion], record: Record, names: Sequence[str], images: NDArray[np.int64]
) -> bytes:
    rows = []
    for confusion in confusions:
        mistaken = [record.images[i] for i in confusion.mistaken]
        truth, answer = (shortened(names[i], 350) for i in (confusion.truth, confusion.answer))
        title = f"{truth} taken for {answer}: {confusion.images} of {images[confusion.truth]}"
        gap = [None] * (EXAMPLES + 1 - len(mistaken))
        rows.append(Row(title, [*mistaken, *gap, *(record.images[i] for i in confusion.others)]))
    return sheet(rows, 2 * EXAMPLES + 1)


def _mistakes(run: Run, head: str) -> str:
    names, mistakes = run.classes(head), run.record.mistakes[head]
    images = [run.record.images[mistake.image] for mistake in mistakes]
    captions = [f"is {names[wrong.truth]}\n{wrong.probability:.0%} {names[wrong.answer]}" for wrong in mistakes]
    rows = [
        [name, names[truth], names[answer], f"{probability:.4f}", f"{of_truth:.4f}"]
        for _, name, truth, answer, probability, of_truth in mistakes
    ]
    return run.figure(
        f"mistakes-{_file_name(head)}.png",
        _in_fours(images, captions),
        f"The {len(mistakes)} held-out images with the surest wrong answers in {head}; the table has them all.",
        "Below each image stand its class, then the answer with its probability. A wrong label shows here "
        "first, and an image that no person could read.",
    ) + _table(["image", "class", "answer", "its probability", "the class's"], rows)


def _crops(run: Run) -> str:
    samples, crop = run.record.samples, run.manifest["model"]["crop"]
    if samples is None or not len(samples.full):
        return _paragraph("No image was kept.")
    both = [image for pair in zip(samples.full, samples.crops, strict=True) for image in pair]
    captions = [text for name in samples.ids for text in (name.rpartition("/")[2], "crop")]
    how = "The whole image was stretched to the image size."
    if crop != "none":
        fitted = {"ink": "stretched", "padded": "padded with paper"}[crop]
        how = (
            f"The red box is what was cut out and {fitted} to the image size. A box that cuts ink off, or that a speck "
            "makes too large, shows here."
        )
    return run.figure(
        "crops.png",
        _in_fours(both, captions),
        f"{len(samples.ids)} images as the files hold them, each beside its crop: {', '.join(samples.ids)}.",
        f"Images as the files hold them, each with what the network gets of it on its right. {how}",
    )


def _in_fours(images: Sequence[Image], captions: Sequence[str]) -> bytes:
    return sheet([Row("", images[at : at + 4], captions[at : at + 4]) for at in range(0, len(images), 4)], 4)


def _batches(run: Run) -> str:
    samples = run.record.samples
    if samples is None or not len(samples.batches):
        return _paragraph("No batch was made.")
    head = next(iter(run.manifest["task"]["heads"]))
    names = run.classes(head)
    rows, mixed = [], 0
    for number, (images, labels) in enumerate(zip(samples.batches, samples.labels, strict=True), 1):
        captions = [
            names[shares[0][0]] if len(shares) == 1 else "\n".join(f"{share:.0%} {names[i]}" for i, share in shares)
            for shares in labels
        ]
        mixed += any(len(shares) > 1 for shares in labels)
        rows.append(Row(f"batch {number}", list(images), captions))
    table = [
        [str(number), "; ".join(" + ".join(f"{share:.0%} {names[i]}" for i, share in shares) for shares in labels)]
        for number, labels in enumerate(samples.labels, 1)
    ]
    return run.figure(
        "batches.png",
        sheet(rows, samples.batches.shape[1]),
        f"Images of {len(rows)} batches of epoch {samples.epoch}, augmented; {mixed} of the batches are mixed.",
        f"The first images of batches of epoch {samples.epoch}, as the network got them: augmented, and mixed "
        "where the settings ask for it. Whether and how is drawn for a whole batch; a mixed image has the classes "
        f"of two, with their shares. Below each image stands its {head}. Where a person could no longer tell, the "
        "augmentation may be too strong.",
    ) + _details("Their labels", _table(["batch", head], table))


def _recalls(counts: NDArray[np.int64], classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each class's recall, nan where it has no image, and its images, from Record.counts."""
    truth, answer = np.repeat(counts[:, :2], counts[:, 2], axis=0).T
    return recall_per_class(truth, answer, classes), np.bincount(truth, minlength=classes)


def _worst_first(recall: NDArray[np.float64], images: NDArray[np.int64]) -> list[int]:
    """Return the classes with images by their recall; of equal ones, that of the most images first."""
    return [int(i) for i in np.lexsort([-images, recall]) if images[i]]


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value == int(value) else f"{value:.4g}"


def _file_name(head: str) -> str:
    return re.sub(r"\W", "_", head)


_STYLE = """
:root { color-scheme: light; }
body { font: 1rem/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 56rem; margin: 0 auto;
  padding: 1rem; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
figure { margin: 1rem 0; }
img { display: block; max-width: min(100%, 40rem); height: auto; }
figcaption { color: #444; margin-top: .5rem; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #e4e4e4; }
thead th, tbody th, .wide td { white-space: nowrap; overflow-wrap: normal; }
summary { cursor: pointer; padding: .4rem 0; }
"""


def _page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    body = "\n".join(f"<section><h2>{escape(heading)}</h2>\n{text}</section>" for heading, text in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _table(header: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls in a box of its own; without a header, the first cell of each row is one."""
    head = (
        f"<thead><tr>{''.join(f'<th scope=col>{escape(cell)}</th>' for cell in header)}</tr></thead>" if header else ""
    )
    begin, end = ("<td>", "</td>") if header else ("<th scope=row>", "</th>")
    lines = [
        f"<tr>{begin}{escape(first)}{end}{''.join(f'<td>{escape(cell)}</td>' for cell in others)}</tr>"
        for first, *others in rows
    ]
    kind = "table wide" if header else "table"
    return f'<div class="{kind}"><table>{head}<tbody>\n' + "\n".join(lines) + "\n</tbody></table></div>\n"


def _details(summary: str, text: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{text}</details>\n"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"
