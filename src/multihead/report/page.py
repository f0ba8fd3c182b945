"""A training as one page: what it reached, what it confuses, how it went, what it was given.

Everything comes from the record that the training left (training/record.py), history.csv and manifest.json; the data
is not needed again. The page holds its pictures in itself, and loads nothing from elsewhere.
"""

from pathlib import Path
from typing import Any

import numpy as np

from multihead.config.files import HISTORY_FILE, MANIFEST_FILE, PAGE_FILE, REPORT_FOLDER
from multihead.config.settings import ModelSettings, RunSettings, settings_dict
from multihead.report.curves import calibration_curve, learning_curves, speed_curves
from multihead.report.html import picture, render
from multihead.report.run import Run, read_run
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file
from multihead.training.record import most_confused, recalls, worst_first

PAIRS = 20  # of classes, in a table
FOLDERS = ("data", "weights", "working")  # settings that say nothing of a training


def write_report(folder: Path) -> Path:
    """Draw what a training left in its working folder, and return the page.

    Raises UserError where the record or the manifest is missing or damaged, where they or history.csv are not of the
    same weights, or where matplotlib or Jinja2 is not installed.
    """
    run = read_run(folder)
    try:
        page = render("page.html", **_content(run))
    except ImportError as error:
        raise UserError(f"matplotlib is needed to draw: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # a key or a column is not there, or odd
        files = f"{MANIFEST_FILE} and {HISTORY_FILE}"
        raise UserError(f"{folder}: {files} are not what a training leaves ({error!r})") from error
    out = folder / REPORT_FOLDER / PAGE_FILE
    for sheet in out.parent.glob("*.png"):  # which earlier versions drew
        sheet.unlink()
    with whole_file(out) as new:
        new.write_text(page, encoding="utf-8")
    return out


def _content(run: Run) -> dict[str, Any]:
    """Return what the template shows."""
    manifest, score = run.manifest, run.manifest["score"]
    model = manifest["model"]
    heads = [_head(run, head) for head in run.record.counts]
    return {
        "title": f"{model['task']}, {model['backbone']}",
        "score": score,
        "facts": _facts(run),
        "heads": heads,
        "changed": _changed(run),
        "settings": run.record.run,
        "learning": _learning(run) if run.history else None,
        "crops": _crops(run),
        "batches": _batches(run),
        "crop_kind": model["crop"],
    }


def _facts(run: Run) -> dict[str, str]:
    manifest, model = run.manifest, run.manifest["model"]
    epochs, speed = len(run.history.get("epoch", ())), manifest["images_per_second"]
    height, width = model["image_size"]
    saved = f"{manifest['epoch']}" + ("" if manifest["epoch"] <= epochs else ", unfinished")
    exponents = manifest["prior_exponents"].items()
    held_out = sum(int(counts[:, 2].sum()) for counts in list(run.record.counts.values())[:1])
    return {
        "task": model["task"],
        "backbone": model["backbone"],
        "image size": f"{height} x {width} pixels, crop {model['crop']}",
        "epochs": f"{epochs} of {run.record.run['epochs']}",
        "saved epoch": saved if epochs else "none was finished",
        "images trained on": f"{sum(next(iter(manifest['train_counts'].values()))):,}",
        "images held out": f"{held_out:,}",
        "prior exponents": ", ".join(f"{head} {exponent:g}" for head, exponent in exponents),
        "device": manifest["device"] + (f", {speed:,.0f} images a second in inference" if speed else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
        "seed": str(run.record.run["seed"]),
    }


def _head(run: Run, head: str) -> dict[str, Any]:
    """Return what the held-out images say of a head."""
    record, names, counts = run.record, run.classes(head), run.record.counts[head]
    trained = run.manifest["train_counts"][head]
    recall, images = recalls(counts, len(names))
    order = worst_first(recall, images)
    right = counts[counts[:, 0] == counts[:, 1], 2].sum()
    rows = [
        {"name": names[i], "recall": float(recall[i]), "images": int(images[i]), "trained": int(trained[i])}
        for i in order
    ]
    worst = [
        {
            "name": names[of_class.truth],
            "recall": float(recall[of_class.truth]),
            "images": int(images[of_class.truth]),
            "trained": int(trained[of_class.truth]),
            "wrong": [{"picture": _kept(run, number), "caption": names[answer]} for number, answer in of_class.wrong],
        }
        for of_class in record.worst.get(head, ())
    ]
    return {
        "name": head,
        "recall": float(np.nanmean(recall)),
        "accuracy": float(right / counts[:, 2].sum()),
        "shown": len(order),
        "classes": len(names),
        "rows": rows,
        "worst": worst,
        "absent": [name for name, count in zip(names, images, strict=True) if not count],
        "pairs": [
            {"truth": names[truth], "answer": names[answer], "count": count, "images": int(images[truth])}
            for truth, answer, count in most_confused(counts)[:PAIRS]
        ],
        "confusions": [
            {
                "truth": names[pair.truth],
                "answer": names[pair.answer],
                "count": pair.images,
                "images": int(images[pair.truth]),
                "mistaken": [_kept(run, number) for number in pair.mistaken],
                "others": [_kept(run, number) for number in pair.others],
            }
            for pair in record.confusions[head]
        ],
        "mistakes": [
            {
                "picture": _kept(run, mistake.image),
                "id": mistake.id,
                "truth": names[mistake.truth],
                "answer": names[mistake.answer],
                "probability": mistake.probability,
                "of_truth": mistake.of_truth,
            }
            for mistake in record.mistakes[head]
        ],
        "calibration": _calibration(run, head),
    }


def _calibration(run: Run, head: str) -> dict[str, Any] | None:
    """Return how well a head's probabilities are those of being right; None where an earlier version kept nothing."""
    bins = run.record.calibration.get(head)
    if bins is None or not bins[:, 0].sum():
        return None
    images, probability, right = bins.T
    gap = probability - right
    return {
        "error": float(np.abs(gap).sum() / images.sum()),
        "gap": float(gap.sum() / images.sum()),
        "curve": calibration_curve(head, bins),
        "rows": [
            {
                "from": place / len(bins),
                "to": (place + 1) / len(bins),
                "images": int(images[place]),
                "probability": float(probability[place] / images[place]),
                "right": float(right[place] / images[place]),
            }
            for place in range(len(bins))
            if images[place]
        ],
    }


def _changed(run: Run) -> list[dict[str, Any]]:
    """Return the settings that differ from the defaults, but for folders."""
    found = []
    for table, values, kind in (
        ("model", run.manifest["model"], ModelSettings),
        ("run", run.record.run, RunSettings),
    ):
        defaults: dict[str, Any] = settings_dict(kind()) | {"crop": run.manifest["task"].get("crop", "task")}
        found += [
            {"table": table, "key": key, "value": value, "default": defaults[key]}
            for key, value in values.items()
            if key in defaults and value != defaults[key] and key not in FOLDERS
        ]
    return found


def _learning(run: Run) -> dict[str, Any]:
    history = run.history
    epochs = history["epoch"].tolist()
    saved = epochs.index(run.manifest["epoch"]) if run.manifest["epoch"] in epochs else None
    heads = [head for head in run.manifest["task"]["heads"] if head in history]
    return {
        "curves": learning_curves(history, heads, saved),
        "speed": speed_curves(history),
        "first": float(history["loss"][0]),
        "last": float(history["loss"][-1]),
        "saved": None if saved is None else {"epoch": epochs[saved], "score": float(history["score"][saved])},
        "columns": list(history),
        "rows": np.stack(list(history.values()), 1).tolist(),
    }


def _crops(run: Run) -> list[dict[str, str]]:
    samples = run.record.samples
    if samples is None:
        return []
    return [
        {"id": name, "full": picture(full), "crop": picture(crop)}
        for name, full, crop in zip(samples.ids, samples.full, samples.crops, strict=True)
    ]


def _batches(run: Run) -> dict[str, Any] | None:
    samples = run.record.samples
    if samples is None or not len(samples.batches):
        return None
    head = next(iter(run.manifest["task"]["heads"]))
    names = run.classes(head)
    return {
        "epoch": samples.epoch,
        "head": head,
        "rows": [
            [
                {"picture": picture(image), "shares": [(names[i], share) for i, share in shares]}
                for image, shares in zip(images, labels, strict=True)
            ]
            for images, labels in zip(samples.batches, samples.labels, strict=True)
        ],
    }


def _kept(run: Run, number: int) -> str:
    return picture(run.record.images[number])
