"""What the tasks that are scored by accuracy reach: each through the built kernels, on the labelled test images.

    PYTHONPATH=src python -m benchmarks.accuracy TASK DATA RUNS

DATA is what make_competition.py lays out. Every training of the row is rehearsed with the task's settings for a CPU,
its weights are staged, and the test files predicted by all of them together and read once by `evaluate`. RUNS keeps
what was trained; a training of the same files and settings that is there is not done again.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bundler.kaggle.staging import stage

HOUSE = Path(__file__).resolve().parent.parent
TRAINED_FILE = "trained.json"


class Row(NamedTuple):
    """How a task is measured: of every repeat the accuracy that its trainings, averaged, reach.

    repeats: the settings of each. trainings: by the name of its weights, what each sets on top.
    """

    repeats: Sequence[str]
    trainings: Mapping[str, Sequence[str]]
    test_time_copies: int = 8


SMALLER = (
    'augmentation=[{name = "RandomResizedCrop", size = [32, 32], scale = [0.3, 1.0], ratio = [0.75, 1.333]}, '
    '{name = "flip"}, {name = "ColorJitter", brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1}]'
)
JITTERED = (
    'augmentation=[{name = "affine", rotation_degrees = 15.0, zoom = 0.3, shift = 0.2}, '
    '{name = "flip"}, {name = "ColorJitter", brightness = 0.3, contrast = 0.3, saturation = 0.3, hue = 0.05}]'
)
TWO_SEEDS, ALONE = ("seed=0", "seed=1"), {"alone": ()}
ROWS = {
    "digit-recognizer": Row(TWO_SEEDS, ALONE),
    "fashion-mnist": Row(TWO_SEEDS, ALONE),
    "sign-mnist": Row(TWO_SEEDS, ALONE, test_time_copies=0),
    "animals10": Row(
        [f"fold={fold}" for fold in range(5)],
        {
            "random-crops": ("seed=0",),
            "smaller": ("seed=2", "image_size=[32, 32]", SMALLER),
            "jittered": ("seed=1", "epochs=200", "weight_decay=0.05", JITTERED),
        },
    ),
}


def main() -> None:
    """Measure one row, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=ROWS)
    parser.add_argument("data", type=Path, help="the task's files")
    parser.add_argument("runs", type=Path, help="where what was trained is kept")
    arguments = parser.parse_args()
    task, data, runs = arguments.task, arguments.data.resolve(), arguments.runs.resolve()
    row, reached, minutes = ROWS[task], [], []
    for repeat in row.repeats:
        folder = runs / task / repeat
        seconds = [_train(task, data, folder / name, [repeat, *row.trainings[name]]) for name in row.trainings]
        minutes.append(sum(seconds) / 60)
        reached.append(_accuracy(task, data, folder, row))
        print(f"{repeat}: accuracy {reached[-1]:.4f}, trained in {minutes[-1]:.1f} CPU minutes", flush=True)
    words = ", ".join(f"{accuracy:.4f}" for accuracy in reached)
    print(f"| `{task}` | {sum(reached) / len(reached):.4f} ({words}) | {sum(minutes) / len(minutes):.1f} |")


def _train(task: str, data: Path, folder: Path, overrides: Sequence[str]) -> float:
    """Train where that is not done yet, and return the CPU seconds that it took."""
    record, file = folder / TRAINED_FILE, HOUSE / "kernel" / "train" / f"settings-{task}.toml"
    training = {"data": str(data), "settings": file.read_text(), "overrides": list(overrides)}
    trained = json.loads(record.read_text()) if record.is_file() else {}
    if trained.get("training") != training:
        before = _cpu_seconds()
        _rehearse(data, folder, overrides, "--kernel", "train", "--settings", str(file))
        trained = {"training": training, "cpu_seconds": _cpu_seconds() - before}
        record.write_text(json.dumps(trained))
    return float(trained["cpu_seconds"])


def _accuracy(task: str, data: Path, folder: Path, row: Row) -> float:
    """Predict by all trainings in the folder together, and return what `evaluate` says of it."""
    dataset = folder / "dataset"
    dataset.mkdir(exist_ok=True)
    for name in row.trainings:
        stage(folder / name / "working", dataset, name)
    overrides = [f"ensemble={json.dumps(list(row.trainings))}", f"test_time_copies={row.test_time_copies}"]
    out = folder / "predicted"
    _rehearse(data, out, overrides, "--weights", str(dataset))
    (answers,) = (out / "working").glob("*.csv")
    command = [sys.executable, "-m", "multihead", "evaluate", str(answers), str(data), "--task", task]
    done = subprocess.run(command, check=True, cwd=HOUSE / "src", capture_output=True, text=True)
    found = re.search(r"^accuracy = ([0-9.]+)", done.stdout, re.MULTILINE)
    if not found:
        raise SystemExit(f"error: evaluate tells no accuracy: {done.stdout}")
    return float(found[1])


def _rehearse(data: Path, out: Path, overrides: Sequence[str], *options: str) -> None:
    sets = [part for override in overrides for part in ("--set", override)]
    command = [sys.executable, "build_kernel.py", "rehearse", str(data), "--out", str(out), *options, *sets]
    subprocess.run(command, check=True, cwd=HOUSE, stdout=subprocess.DEVNULL)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
