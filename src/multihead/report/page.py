"""A training as one page: what it reached, what it confuses, how it went, what it was given.

Everything comes from the record that the training left (training/record.py), history.csv and manifest.json; the data
is not needed again. The page holds its pictures in itself, and loads nothing from elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multihead.config.files import HISTORY_FILE, MANIFEST_FILE, PAGE_FILE, REPORT_FOLDER
from multihead.config.model_settings import ModelSettings
from multihead.config.scores import LABEL, ONE_OF
from multihead.config.settings import RunSettings, settings_dict
from multihead.report.curves import learning_curves, speed_curves
from multihead.report.heads import what_is_shown_of
from multihead.report.html import picture, render
from multihead.report.run import Run, read_run
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file

MOST_VALUES = 8  # thresholds or cut points of a head that are shown
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
    return {
        "title": f"{model['task']}, {model['backbone']}",
        "score": score,
        "answer": run.manifest["task"].get("answer", LABEL),
        "nothing": f"No held-out image {'has a label' if run.record.held_out else 'was read'}",
        "sections": _sections(run),
        "facts": _facts(run),
        "heads": [what_is_shown_of(run, head) for head in run.heads],
        "changed": _changed(run),
        "settings": run.record.run,
        "learning": _learning(run) if run.history else None,
        "crops": _crops(run),
        "batches": _batches(run),
        "crop_kind": model["crop"],
    }


def _sections(run: Run) -> dict[str, str]:
    """Return what the sections are called by their ids, in their order, of those that the kinds of the heads have."""
    kinds = set(map(run.kind, run.heads))
    is_of_one, is_of_classes = not kinds.isdisjoint(ONE_OF), kinds != {"number"}
    names = {
        "classes": "worst classes" if is_of_classes else "",
        "pairs": "most confused pairs" if is_of_one else "",
        "numbers": "numbers" if "number" in kinds else "",
        "mistakes": "surest mistakes" if is_of_classes else "largest errors",
        "calibration": "calibration" if is_of_classes else "",
        "settings": "settings",
        "learning": "curves",
        "data": "data",
    }
    return {name: text for name, text in names.items() if text}


def _facts(run: Run) -> dict[str, str]:
    manifest, model = run.manifest, run.manifest["model"]
    epochs, speed = len(run.history.get("epoch", ())), manifest["images_per_second"]
    height, width = model["image_size"]
    saved = f"{manifest['epoch']}" + ("" if manifest["epoch"] <= epochs else ", unfinished")
    trained = _trained_on(run)
    return {
        "task": model["task"],
        "backbone": model["backbone"],
        "image size": f"{height} x {width} pixels, crop {model['crop']}",
        "epochs": f"{epochs} of {run.record.run['epochs']}",
        "saved epoch": saved if epochs else "none was finished",
        **({"images trained on": f"{trained:,}"} if trained else {}),
        "images held out": f"{run.record.held_out:,}",
        **_chosen(run),
        "device": manifest["device"] + (f", {speed:,.0f} images a second in inference" if speed else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
        "seed": str(run.record.run["seed"]),
    }


def _trained_on(run: Run) -> int:
    """Return how many images were trained on; of an earlier version's weights, what their counts tell."""
    counted = sum(next(iter(run.manifest["train_counts"].values())))
    return int(run.manifest.get("train_images") or counted)


def _chosen(run: Run) -> dict[str, str]:
    """Return what was chosen on the held-out images, to turn probabilities into answers."""
    exponents = {
        head: [exponent]
        for head, exponent in run.manifest["prior_exponents"].items()
        if exponent or run.kind(head) in ONE_OF
    }
    temperatures = {head: [value] for head, value in run.manifest.get("temperatures", {}).items()}
    chosen = {
        "prior exponents": exponents,
        "temperatures": temperatures,
        "thresholds": run.manifest.get("thresholds", {}),
        "cut points": run.manifest.get("cut_points", {}),
    }
    return {
        name: ", ".join(f"{head} {_in_short(values)}" for head, values in of_heads.items())
        for name, of_heads in chosen.items()
        if of_heads
    }


def _in_short(values: Sequence[float]) -> str:
    if len(values) > MOST_VALUES:
        return f"{min(values):.4g} to {max(values):.4g}"
    return " ".join(f"{value:.4g}" for value in values)


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
    heads = [head for head in run.heads if head in history]
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
    head = next(iter(run.heads))
    return {
        "epoch": samples.epoch,
        "head": head,
        "mixed": "a number between those of two"
        if run.kind(head) == "number"
        else "the classes of two, with their shares",
        "rows": [
            [
                {"picture": picture(image), "shares": _shares(run, head, label)}
                for image, label in zip(images, labels, strict=True)
            ]
            for images, labels in zip(samples.batches, samples.labels, strict=True)
        ],
    }


def _shares(run: Run, head: str, label: Sequence[tuple[int, float]] | None) -> list[tuple[str, float]]:
    """Return the classes of an image of a batch, each with its share; 1 of a number, or where there is none."""
    if label is None:
        return [("no label", 1)]
    if run.kind(head) == "number":
        return [(f"{value:.4g}", 1) for _, value in label]
    names = run.classes(head)
    return [(names[i], share) for i, share in label] or [("none of the classes", 1)]
