"""What the parts of a row of the ruler (score.py) cost: CPU-seconds, over all tries that each took."""

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file

SOURCE = Path(__file__).resolve().parent.parent / "src"
SECONDS_BETWEEN_LOOKS = 0.2  # not one long wait: where polars was at work, an interrupt does not end that


class Cost(NamedTuple):
    """CPU-seconds of the tries so far. is_measured: whether these are all that there were."""

    cpu_seconds: float
    is_measured: bool


def run(command: Sequence[str | Path], out: Path) -> None:
    """Run a command, and add the CPU-seconds of its processes to the cost of the folder that it fills, however it ends.

    An interrupt is passed on to it, and its end awaited. Where this process is killed, what the try costs is lost, and
    the cost is not measured from then on. Raises UserError where the command fails.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    log, cost, before = _beside(out, "log"), cost_of(out), _cpu_seconds()
    _write(out, cost._replace(is_measured=False))
    with log.open("ab") as output:
        environment = os.environ | {"PYTHONPATH": str(SOURCE)}
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while (code := process.poll()) is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    finally:
        _write(out, cost._replace(cpu_seconds=cost.cpu_seconds + _cpu_seconds() - before))
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise UserError(f"{log}: exit code {code}: {lines[-1] if lines else 'no output'}")


def cost_of(out: Path) -> Cost:
    """Return what a folder has cost so far; not measured is that of one that another program began."""
    if not out.is_dir() or not any(out.iterdir()):
        return Cost(0.0, is_measured=True)
    path = _beside(out, "json")
    return Cost(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else Cost(0.0, is_measured=False)


def _write(out: Path, cost: Cost) -> None:
    with whole_file(_beside(out, "json")) as new:
        new.write_text(json.dumps(cost._asdict()) + "\n", encoding="utf-8")


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(f"{out.name}.{suffix}")


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
