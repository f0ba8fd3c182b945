"""The Ray engine against one trial after the other: wall times, and whether the weights are the same to the bit.

    PYTHONPATH=src:demo .venv/bin/python -m benchmarks.ray_engine DATA --settings FILE --out NEW_FOLDER

runs a study of two folds with one thread a trial four times: one trial after the other; on Ray, two at a time; on Ray,
with the worker of the first trial killed after its first checkpoint; on a cluster of two nodes on this machine, one of
which is killed then. The settings need `deterministic = true`. It needs requirements-scale.txt and Linux.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bundler.study.trial import sha256
from multihead.config.files import CHECKPOINT_FILE, WEIGHTS_FILE

NODE = {"num_cpus": 1, "num_gpus": 0}


def main() -> None:
    """Print a line for each study: its wall time, and the beginnings and the weights' SHA-256 of each trial."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    study = partial(run, arguments)
    arguments.out.mkdir(parents=True)
    study("one after the other")
    study("Ray, two at a time", "--engine", "ray", "--workers", "2")
    study("Ray, a worker killed", "--engine", "ray", "--workers", "2", meanwhile=kill_a_worker)
    with_a_node_taken_away(study)


def run(arguments: argparse.Namespace, name: str, *engine: str, meanwhile: Callable[[Path], object] = str) -> None:
    """Run a study and print its line; meanwhile: called with its folder as it begins."""
    out = arguments.out / name
    command = [sys.executable, "-m", "multihead_study", "cross-validate", arguments.data, "--folds", "2"]
    options = ["--out", out, "--settings", arguments.settings, "--threads", "1", *engine]
    begun = time.monotonic()
    with subprocess.Popen([*map(str, [*command, *options])], stdout=subprocess.DEVNULL) as process:
        meanwhile(out)
    print(f"{name}: exit code {process.returncode}, {time.monotonic() - begun:.1f} s", flush=True)
    for weights in sorted(out.glob(f"*/{WEIGHTS_FILE}")):
        times = (weights.parent / "log.txt").read_text(encoding="utf-8").count("on node ") or 1
        print(f"  {weights.parent.name}: begun {times} x, {sha256(weights.read_bytes())[:16]}", flush=True)


def kill_a_worker(out: Path) -> None:
    """Kill the Ray worker of the first fold's trial once that has a checkpoint."""
    os.kill(parent_of(process_in(first_trial(out))), signal.SIGKILL)


def with_a_node_taken_away(study: Callable[..., None]) -> None:
    """Run a study on two nodes, and kill the one that has no driver once both trials have a checkpoint."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    node = cluster.add_node(**NODE)
    cluster.wait_for_nodes()

    def take_away(out: Path) -> None:
        first_trial(out)
        cluster.remove_node(node, allow_graceful=False)

    study("Ray, one of two nodes killed", "--engine", "ray", "--address", cluster.address, meanwhile=take_away)
    cluster.shutdown()


def first_trial(out: Path) -> Path:
    """Return the folder of the first trial once all two have a checkpoint."""
    while len(found := sorted(out.glob(f"*/{CHECKPOINT_FILE}"))) < 2:
        time.sleep(0.05)
    return found[0].parent


def process_in(folder: Path) -> int:
    """Return the process whose working folder this is."""
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if path.readlink() == folder.resolve():
                return int(path.parent.name)
        except OSError:
            continue
    raise SystemExit(f"{folder}: nothing runs in it; choose more epochs")


def parent_of(process: int) -> int:
    """Return the process that started another."""
    return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


if __name__ == "__main__":
    main()
