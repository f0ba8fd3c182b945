"""What the machine is: without that no other figure can be read."""

import importlib
import os
import subprocess
import sys

import jax

from benchmarks.gpu.figures import Figures

LIBRARIES = ("jax", "keras", "numpy", "pandas", "cv2", "h5py", "pydantic")


def measure_machine(figures: Figures) -> None:
    """Add its device, cores, versions and nvidia-smi's line."""
    libraries = map(importlib.import_module, LIBRARIES)
    device = jax.devices()[0]
    figures.add(
        "machine",
        device=device.device_kind,
        platform=device.platform,
        cores=os.cpu_count(),
        python=sys.version.split()[0],
        versions={library.__name__: library.__version__ for library in libraries},
        nvidia_smi=_nvidia_smi(),
    )


def _nvidia_smi() -> str:
    fields = "name,memory.total,driver_version,clocks.sm,clocks.max.sm,power.limit"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"none ({type(error).__name__})"
