"""Lay out a folder that measures training and inference on a machine with a GPU and JAX, and without this project.

    PYTHONPATH=src:demo python -m benchmarks.gpu_kit OUT [--data DIR] [--wheels FOLDER]

OUT holds the package, the wheels that such a machine lacks, the competition's images as 64 x 64 crops in a few gray
PNG sheets, and the package benchmarks/gpu, which measures. There, with Python 3.12, JAX, NumPy, pandas, OpenCV, h5py
and matplotlib installed and without a network, `python run_kit.py` leaves figures.jsonl and prints a table.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.gpu.data import CROP_SIZE, write_part
from benchmarks.material import TOOL
from multihead.config.files import TRUTH_FILE
from multihead.config.known_tasks import TASKS
from multihead.config.model_settings import ModelSettings
from multihead.data.answers import read_answers
from multihead.data.crop_store import crops_ahead
from multihead.data.datasets import images_to_predict, images_to_train
from multihead.data.labels import label_indices
from multihead.data.shards import Part
from multihead.runtime.errors import UserError

HOUSE = Path(__file__).resolve().parent.parent
MAX_BYTES = 50 * 1024 * 1024
TEST_IMAGES = 1600
# What the package imports on the way to a training and a prediction, in the versions of requirements.txt
WHEELS = ("keras", "namex", "optree", "absl-py", "rich", "markdown-it-py", "mdurl", "pygments", "six")
WHEELS_OF_CONFIG = ("pydantic", "pydantic-core", "typing-extensions", "typing-inspection", "annotated-types")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def lay_out_kit(out: Path, data: Path, wheels: Path | None = None) -> int:
    """Fill an empty folder with the kit and return its size in bytes.

    data: a competition's folder with a truth.csv of its test images. wheels: a folder of wheels to take in place of
    those that pip downloads. SystemExit where the kit is over MAX_BYTES.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise SystemExit(f"{out} is not empty")
    train = images_to_train(data, TASKS["bengali"])
    truth = data / TRUTH_FILE
    test_labels = label_indices(read_answers(truth, TASKS["bengali"]), TASKS["bengali"], truth)
    for package in ("src/multihead", "benchmarks/gpu"):
        shutil.copytree(HOUSE / package, out / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "benchmarks" / "__init__.py", out / "benchmarks")
    shutil.copy(HOUSE / "benchmarks" / "gpu" / "__main__.py", out / "run_kit.py")
    shutil.copy(HOUSE / "kernel" / "train" / "settings.toml", out)
    _lay_out_wheels(out / "wheels", wheels)
    _write_crops(out / "data", "train", train.parts, train.labels)
    _write_crops(out / "data", "test", images_to_predict(data, TASKS["bengali"]).parts, test_labels)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    if size > MAX_BYTES:
        raise SystemExit(f"{out}: {size:,} bytes, expected at most {MAX_BYTES:,}")
    return size


def _lay_out_wheels(folder: Path, at_hand: Path | None) -> None:
    folder.mkdir()
    for wheel in sorted((HOUSE / "bundler" / "build" / "wheels").glob("*.whl")):
        shutil.copy(wheel, folder)
    if at_hand:
        for wheel in sorted(at_hand.glob("*.whl")):
            shutil.copy(wheel, folder)
        return
    target = ["--python-version", "3.12", "--implementation", "cp", *(f"--platform={name}" for name in PLATFORMS)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *target]
    versions = ["--constraint", str(HOUSE / "requirements.txt")]
    subprocess.run([*command, *versions, "--dest", str(folder), *WHEELS, *WHEELS_OF_CONFIG], check=True)


def _write_crops(folder: Path, part: str, shards: Sequence[Part], labels: pd.DataFrame) -> None:
    """Crop the images of one part, and write them with their class indices, a row of `labels` for each id."""
    model = ModelSettings(image_size=(CROP_SIZE, CROP_SIZE))
    cropped = [shard for (shard,), _ in crops_ahead(shards, TASKS["bengali"], [model])]
    ids = [image for shard in cropped for image in shard.ids]
    write_part(folder, part, np.concatenate([shard.images for shard in cropped]), labels.loc[ids])


def main(argv: Sequence[str] | None = None) -> int:
    """Lay the kit out and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder that is empty or not there yet")
    parser.add_argument("--data", type=Path, help="a competition's folder with a truth.csv; default: the real images")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels, in place of those that pip downloads")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="gpu-kit-") as scratch:
        data = arguments.data or _real_images(Path(scratch) / "bengali")
        try:
            size = lay_out_kit(arguments.out, data, arguments.wheels)
        except (UserError, OSError) as error:
            raise SystemExit(f"error: {error}") from error
    print(f"{arguments.out}: {size / 2**20:.1f} MiB; python run_kit.py in it measures")
    return 0


def _real_images(folder: Path) -> Path:
    if not TOOL.is_file():
        raise SystemExit("no real images at hand: name a competition's folder with --data DIR")
    subprocess.run([sys.executable, str(TOOL), "bengali", str(folder), "--test-rows", str(TEST_IMAGES)], check=True)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
