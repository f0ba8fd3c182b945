"""Measure all rows and print the table: make bench, or PYTHONPATH=src:demo python -m benchmarks.bench for some of them.

Whatever is compared runs in turns, each time in a process of its own, three times; a figure is the median of
the three ratios.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.material import lay_out, link_first, read_images, write_shard, write_test_set
from benchmarks.measures import PASSES

HOUSE = Path(__file__).resolve().parent.parent
RUNS = 3
FULL_SHARD, TEST_ROWS = 50_210, 10_000

Sample = Mapping[str, float]


@dataclass(frozen=True)
class Target:
    """What a row must show: a ratio or figure of one run's samples, and the bound that it should keep.

    held_back: what keeps it from the bound, told where it falls short.
    """

    what: str
    value: Callable[[Mapping[str, Sample]], float]
    bound: float
    is_lower_better: bool
    unit: str = ""
    held_back: str = ""

    def is_kept(self, runs: Sequence[Mapping[str, Sample]]) -> bool:
        middle = statistics.median(map(self.value, runs))
        return middle <= self.bound if self.is_lower_better else middle >= self.bound

    def told(self, runs: Sequence[Mapping[str, Sample]]) -> str:
        """Return one line of the table for the samples of all runs."""
        values = [self.value(run) for run in runs]
        middle = statistics.median(values)
        spread = f"{min(values):.3g} to {max(values):.3g}"
        bound = f"at {'most' if self.is_lower_better else 'least'} {self.bound:g}{self.unit}"
        kept = f"{bound} | {'yes' if self.is_kept(runs) else '**no**'}" if math.isfinite(self.bound) else " | "
        return f"{self.what} | {middle:.3g}{self.unit} ({spread}) | {kept}"


def _time(measurement: str, over: str) -> Callable[[Mapping[str, Sample]], float]:
    return lambda run: run[measurement]["seconds"] / run[over]["seconds"]


def _memory(measurement: str, over: str) -> Callable[[Mapping[str, Sample]], float]:
    return lambda run: run[measurement]["peak_gb"] / run[over]["peak_gb"]


def _rate(measurement: str) -> Callable[[Mapping[str, Sample]], float]:
    return lambda run: run[measurement]["images"] / run[measurement]["seconds"]


AREA = "OpenCV's INTER_AREA, the same for both, takes most of our cropping"
GPU_HEADING = "\n## On a GPU\n"  # gpu_kit.py's section, which this machine cannot measure again

HEADER = """# How fast, and how much memory

Measured by `make bench` on real images: shards repeat them to size, {rows:,} in the train shard, {test_rows:,} in each
test shard; crops and batches are of at most 6,000. A figure is the median of three runs in turns, each in a process of
its own (in brackets: the least and the greatest of the three), and a ratio within each run where it names two things.
"The notebook" is the usual way through pandas and ImageDataGenerator ([baseline.py](baseline.py)); what else is
compared stands in [measures.py](measures.py).

{machine}

| measure | figure | | target | kept |
|---|---|---|---|---|
"""

# row: what it measures, the measurements that it compares (with the folder that each is given), what it must show
ROWS: dict[str, tuple[str, dict[str, str], list[Target]]] = {
    "shard": (
        "one full shard, file to 64 x 64 crops",
        dict.fromkeys(("shard_baseline", "shard_ours", "shard_decoded", "shard_pandas"), "train"),
        [
            Target("the notebook's time over ours", _time("shard_baseline", "shard_ours"), 8, False, held_back=AREA),
            Target(
                "our time over decoding alone",
                _time("shard_ours", "shard_decoded"),
                1.6,
                True,
                held_back="cropping alone takes 0.6 times as long as decoding, and finding memory for the pixels 0.3 "
                "times; decoding all columns at once, the limit here, needs 3.3 GB",
            ),
            Target(
                "our peak memory over pd.read_parquet's",
                _memory("shard_ours", "shard_pandas"),
                0.4,
                True,
                held_back="the pixels alone are 1.62 GB, and pd.read_parquet needs no more than 3.8 GB here",
            ),
            Target("our peak memory", lambda run: run["shard_ours"]["peak_gb"], 2.5, True, " GB"),
        ],
    ),
    "crop": (
        "crop-resize, all cores; the notebook one row of its table after the other",
        dict.fromkeys(("crop_baseline", "crop_ours"), "train"),
        [Target("the notebook's time over ours", _time("crop_baseline", "crop_ours"), 12, False, held_back=AREA)],
    ),
    "batches": (
        "batches of 64 x 64, every one mixed, all cores",
        dict.fromkeys(("batches_baseline", "batches_ours", "batches_warped"), "train"),
        [
            Target(
                "the notebook's time over ours",
                lambda run: PASSES * run["batches_baseline"]["seconds"] / run["batches_ours"]["seconds"],
                40,
                False,
            ),
            Target(
                "cv2.warpAffine's time over ours",
                _time("batches_warped", "batches_ours"),
                0.5,
                False,
                held_back="threads take turns at the interpreter's lock, and every batch is mixed",
            ),
        ],
    ),
    "fit": (
        "a fit of one convolution (16 filters, stride 3), the generator in one thread",
        dict.fromkeys(("fit_ours", "fit_constant"), "train"),
        [
            Target(
                "the time with a constant batch over ours",
                _time("fit_constant", "fit_ours"),
                0.9,
                False,
                held_back="the generator's thread and Keras's loop take turns at the interpreter's lock",
            ),
            Target(
                "images/s with a constant batch",
                _rate("fit_constant"),
                5000,
                False,
            ),
        ],
    ),
    "step": (
        "the training step of resnet10 at 80 x 80 on one batch of 64, a thread per core, no XLA",
        dict.fromkeys(("step_float32", "step_torch_float32", "step_bfloat16", "step_torch_bfloat16"), "train"),
        [
            Target("PyTorch's time over ours, float32", _time("step_torch_float32", "step_float32"), 1, False),
            Target("PyTorch's time over ours, bfloat16", _time("step_torch_bfloat16", "step_bfloat16"), 1, False),
            Target("float32's time over bfloat16's", _time("step_float32", "step_bfloat16"), math.inf, True),
            Target("images/s, float32", _rate("step_float32"), math.inf, True),
            Target("images/s, bfloat16", _rate("step_bfloat16"), math.inf, True),
        ],
    ),
    "fit_paced": (
        "a fit of resnet10 at 64 x 64, every batch mixed; a thread per core each for network and generator",
        dict.fromkeys(("fit_paced_ours", "fit_paced_constant"), "train"),
        [
            Target(
                "the time with a constant batch over ours",
                _time("fit_paced_constant", "fit_paced_ours"),
                0.98,
                False,
                held_back="without a device of its own, the network gives its cores to warpAffine and the mixing",
            ),
            Target("images/s with a constant batch", _rate("fit_paced_constant"), math.inf, True),
        ],
    ),
    "predict": (
        "predict, 4 shards, one convolution (64 filters)",
        dict.fromkeys(("predict_baseline", "predict_ours", "predict_network"), "test_4"),
        [
            Target(
                "the notebook's time over ours",
                _time("predict_baseline", "predict_ours"),
                3,
                False,
                held_back="the network is most of both times on a CPU without AVX-512",
            ),
            Target(
                "the network's time alone over ours",
                _time("predict_network", "predict_ours"),
                0.6,
                False,
                held_back="without a device of its own, the network gives its cores to reading and cropping",
            ),
            Target("seconds of the network alone", lambda r: r["predict_network"]["seconds"], math.inf, True, " s"),
        ],
    ),
    "predict_b0": (
        "predict, 4 shards, EfficientNet-B0",
        dict.fromkeys(("predict_baseline_b0", "predict_ours_b0", "predict_network_b0"), "test_4"),
        [
            Target(
                "the notebook's time over ours",
                _time("predict_baseline_b0", "predict_ours_b0"),
                3,
                False,
                held_back="the network is most of both times on a CPU",
            ),
            Target(
                "the network's time alone over ours",
                _time("predict_network_b0", "predict_ours_b0"),
                0.9,
                False,
                held_back="without a device of its own, the network gives its cores to reading and cropping",
            ),
        ],
    ),
    "memory": (
        "predict, 16 shards and 4",
        {"predict_ours:4": "test_4", "predict_ours:16": "test_16"},
        [
            Target("peak memory of 16 over that of 4", _memory("predict_ours:16", "predict_ours:4"), 1.05, True),
            Target("peak memory of 16", lambda run: run["predict_ours:16"]["peak_gb"], math.inf, True, " GB"),
        ],
    ),
    "start": (
        "start-up of the bundle",
        {"start_bundle": "train", "start_package": "train"},
        [
            Target(
                "seconds over the package in place",
                lambda run: run["start_bundle"]["seconds"] - run["start_package"]["seconds"],
                0.5,
                True,
                " s",
            )
        ],
    ),
}


def main() -> None:
    """Make the material, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a competition's folder; without one, the real images at hand")
    parser.add_argument("--only", choices=ROWS, action="append", help="measure these rows only")
    parser.add_argument("--rows", type=int, default=FULL_SHARD, help="images in the train shard; five times a test's")
    parser.add_argument("--out", type=Path, help="a file for the table")
    arguments = parser.parse_args()
    names = arguments.only or list(ROWS)
    if "step" in names and importlib.util.find_spec("torch") is None:
        names = [name for name in names if name != "step"]
        print("no PyTorch, so no row of the bare step: pip install torch==2.13.0", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        _prepare(folder, arguments.data, arguments.rows, {place for name in names for place in ROWS[name][1].values()})
        parts = [_measure(folder, name) for name in names]
    text = HEADER.format(machine=_machine(), rows=arguments.rows, test_rows=_test_rows(arguments.rows))
    text += "".join(line + "\n" for lines, _ in parts for line in lines)
    short = [line for _, lines in parts for line in lines]
    text += "".join(["\nWhat holds back the rows that fall short:\n\n", *short]) if short else ""
    text += gpu_section(arguments.out) if arguments.out else ""
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


def gpu_section(results: Path) -> str:
    """Return what a file of results says of a GPU, from its heading to its end; nothing where it says nothing."""
    text = results.read_text(encoding="utf-8") if results.is_file() else ""
    _, heading, section = text.partition(GPU_HEADING)
    return heading + section


def _prepare(folder: Path, data: Path | None, rows: int, places: set[str]) -> None:
    print("making shards of real images", file=sys.stderr, flush=True)
    competition = data or lay_out(_made(folder / "competition"))
    images = read_images(competition)
    train = _made(folder / "train")
    np.save(train / "images.npy", images)
    if "train" in places:
        ids = [f"Train_{i}" for i in range(rows)]
        write_shard(train / "train_image_data_0.parquet", images, ids, seed=0)
        columns = "image_id,grapheme_root,vowel_diacritic,consonant_diacritic"
        (train / "train.csv").write_text("\n".join([columns, *(f"{i},0,0,0" for i in ids)]))
    test_rows = _test_rows(rows)
    shards = 16 if "test_16" in places else 4
    if {"test_4", "test_16"} & places:
        write_test_set(folder / f"test_{shards}", images, shards, test_rows)
    if {"test_4", "test_16"} <= places:
        link_first(folder / "test_16", folder / "test_4", 4, test_rows)


def _test_rows(rows: int) -> int:
    return min(TEST_ROWS, max(1, rows // 5))


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _measure(folder: Path, name: str) -> tuple[list[str], list[str]]:
    """Measure one row; return its lines of the table, and a line for each target that fell short."""
    title, measurements, targets = ROWS[name]
    runs = []
    for number in range(RUNS):
        run = {}
        for measurement, place in measurements.items():
            run[measurement] = _start_up(measurement) if name == "start" else _in_a_process(measurement, folder / place)
            seconds, peak = run[measurement]["seconds"], run[measurement]["peak_gb"]
            line = f"{name}, run {number + 1} of {RUNS}: {measurement} {seconds:.3f} s, {peak:.2f} GB"
            print(line, file=sys.stderr, flush=True)
        runs.append(run)
    short = [target for target in targets if not target.is_kept(runs)]
    return (
        [f"| {title} | {target.told(runs)} |" for target in targets],
        [f"- **{target.what}** ({title}): {target.held_back or 'not looked into'}.\n" for target in short],
    )


def _in_a_process(measurement: str, folder: Path) -> Sample:
    command = [sys.executable, "-m", "benchmarks.measures", measurement.partition(":")[0], str(folder)]
    environment = os.environ | {"PYTHONPATH": f"{HOUSE}:{HOUSE / 'src'}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment, cwd=HOUSE)
    if done.returncode:
        raise SystemExit(f"{measurement}: exit code {done.returncode}")
    sample: Sample = json.loads(done.stdout.splitlines()[-1])
    return sample


def _start_up(measurement: str) -> Sample:
    """Time the shortest command, which prints the settings, from process start to end."""
    import time

    from bundler.build.script import build_script

    settings = HOUSE / "kernel" / "train" / "settings.toml"
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "script.py"
        script.write_bytes(build_script(HOUSE / "src" / "multihead", settings, "settings"))
        in_place = ["-m", "multihead", "settings", "--settings", str(settings)]
        arguments = [str(script)] if measurement == "start_bundle" else in_place
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": "" if measurement == "start_bundle" else str(HOUSE / "src")},
        )
        return {"seconds": time.perf_counter() - started, "peak_gb": 0.0, "images": 0}


def _machine() -> str:
    import importlib.metadata

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0] if models else cpu
    packages = ("tensorflow", "keras", "polars", "pandas", "pyarrow", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{cpu}, {os.cpu_count()} cores, {gigabytes:.0f} GB; Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    main()
