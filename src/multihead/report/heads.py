"""What the page of a training shows of each head, by its kind: of what its record keeps of the held-out images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.report.curves import calibration_curve, number_points
from multihead.report.run import Run
from multihead.training.head_records import f1_per_class, most_confused, recalls, worst_first

PAIRS = 20  # of classes, in a table
MOST_IN_MATRIX = 12  # classes of an order whose answers are all shown
MOST_ABSENT = 50  # classes without a held-out image that are named


def what_is_shown_of(run: Run, head: str) -> dict[str, Any]:
    """Return what the held-out images say of a head; its "form" is "none" where none of them has a label of it."""
    record = run.record
    if head in record.counts:
        return _of_classes(run, head) | {"form": "classes", "calibration": _calibration(run, head)}
    if head in record.sets:
        return _of_sets(run, head) | {"form": "sets", "calibration": _calibration(run, head)}
    if head in record.numbers:
        return _of_numbers(run, head) | {"form": "numbers"}
    return {"form": "none", "name": head}


def _of_classes(run: Run, head: str) -> dict[str, Any]:
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
            "wrong": [{"picture": run.picture(number), "caption": names[answer]} for number, answer in of_class.wrong],
        }
        for of_class in record.worst.get(head, ())
    ]
    return {
        **_of_all(run, head, int(counts[:, 2].sum())),
        "recall": float(np.nanmean(recall)),
        "accuracy": float(right / counts[:, 2].sum()),
        "shown": len(order),
        "rows": rows,
        "worst": worst,
        "absent": _absent(names, images),
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
                "mistaken": [run.picture(number) for number in pair.mistaken],
                "others": [run.picture(number) for number in pair.others],
            }
            for pair in record.confusions[head]
        ],
        "mistakes": [
            {
                "picture": run.picture(mistake.image),
                "id": mistake.id,
                "truth": names[mistake.truth],
                "answer": names[mistake.answer],
                "probability": mistake.probability,
                "of_truth": mistake.of_truth,
            }
            for mistake in record.mistakes[head]
        ],
        "order": _order(names, counts, is_cut=head in run.manifest.get("cut_points", {}))
        if run.kind(head) == "ordinal"
        else None,
    }


def _order(names: list[str], counts: NDArray[np.int64], *, is_cut: bool) -> dict[str, Any]:
    """Return how far off the answers of a head are whose classes have an order, and of few classes all of them."""
    distances = np.abs(counts[:, 0] - counts[:, 1])
    images = np.bincount(distances, counts[:, 2]).astype(np.int64)
    matrix = np.zeros((len(names), len(names)), np.int64)
    matrix[counts[:, 0], counts[:, 1]] = counts[:, 2]
    return {
        "distance": float(np.average(distances, weights=counts[:, 2])),
        "too_high": float(np.average(counts[:, 1] - counts[:, 0], weights=counts[:, 2])),
        "rows": [(distance, int(n), float(n / images.sum())) for distance, n in enumerate(images) if n],
        "is_cut": is_cut,
        "names": names if len(names) <= MOST_IN_MATRIX else [],
        "matrix": matrix.tolist() if len(names) <= MOST_IN_MATRIX else [],
    }


def _of_sets(run: Run, head: str) -> dict[str, Any]:
    kept, names = run.record.sets[head], run.classes(head)
    f1 = f1_per_class(kept.classes)
    there, answered, both = kept.classes[:, :3].T
    areas = kept.classes[:, 3]
    order = worst_first(f1, there)
    trained = run.manifest["train_counts"][head]
    thresholds = run.manifest.get("thresholds", {}).get(head, ())
    rows = [
        {
            "name": names[i],
            "f1": float(f1[i]),
            "precision": float(both[i] / answered[i]) if answered[i] else None,
            "recall": float(both[i] / there[i]),
            "area": None if np.isnan(areas[i]) else float(areas[i]),
            "images": int(there[i]),
            "answered": int(answered[i]),
            "trained": int(trained[i]),
            "threshold": thresholds[i if len(thresholds) > 1 else 0] if thresholds else None,
        }
        for i in order
    ]
    by_name = {row["name"]: row for row in rows}
    counted = both.sum(), there.sum() + answered.sum()
    return {
        **_of_all(run, head, kept.images),
        "f1": float(np.mean(f1[order])) if order else 0.0,
        "micro": float(2 * counted[0] / counted[1]) if counted[1] else 0.0,
        "area": kept.area,
        "mean_area": None if np.isnan(areas).all() else float(np.nanmean(areas)),
        "there": float(there.sum() / kept.images),
        "answered": float(answered.sum() / kept.images),
        "shown": len(order),
        "rows": rows,
        "worst": [
            by_name[names[one.label]]
            | {
                "missed": [run.picture(number) for number in one.missed],
                "wrong": [run.picture(number) for number in one.wrong],
            }
            for one in kept.worst
        ],
        "absent": _absent(names, there),
        "mistakes": [
            mistake._asdict() | {"picture": run.picture(mistake.image), "name": names[mistake.label]}
            for mistake in kept.mistakes
        ],
    }


def _of_numbers(run: Run, head: str) -> dict[str, Any]:
    kept = run.record.numbers[head]
    return {
        **_of_all(run, head, kept.images),
        "mean_error": kept.mean_error,
        "median_error": kept.median_error,
        "bias": kept.bias,
        "of_median": kept.of_median,
        "points": number_points(head, kept.points),
        "drawn": len(kept.points),
        "rows": kept.bins,
        "mistakes": [mistake._asdict() | {"picture": run.picture(mistake.image)} for mistake in kept.mistakes],
    }


def _of_all(run: Run, head: str, images: int) -> dict[str, Any]:
    score = run.manifest["score"] or {}
    return {
        "name": head,
        "classes": len(run.classes(head)),
        "images": images,
        "unlabelled": run.record.held_out - images,
        "score": score.get("heads", {}).get(head),
    }


def _absent(names: list[str], images: NDArray[Any]) -> list[str]:
    """Return the classes without a held-out image, and how many there are where that is not all of them."""
    absent = [name for name, count in zip(names, images, strict=True) if not count]
    return absent[:MOST_ABSENT] + ([f"... ({len(absent):,} in all)"] if len(absent) > MOST_ABSENT else [])


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
        "curve": calibration_curve(head, bins, is_of_sets=head in run.record.sets),
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
