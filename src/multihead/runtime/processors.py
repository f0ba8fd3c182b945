"""The GPUs and cores that this process may use, found without any network's library."""

import os
import subprocess
import sys
from contextlib import suppress

THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

DRIVER_SECONDS = 60  # that the driver may take to answer


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that a process started here may use, as CUDA_VISIBLE_DEVICES names them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in named.split(",")]
        return names[: next((place for place, name in enumerate(names) if name in ("", "-1")), None)]
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["nvidia-smi", "-L"]
        listing = subprocess.run(command, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=False)
        gpus = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
        return [str(number) for number in range(len(gpus))]
    return []


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else os.cpu_count() or 1


def with_threads(threads: int) -> dict[str, str]:
    """Return the environment variables that give a process so many threads to compute with."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))
