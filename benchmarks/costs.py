"""What the parts of a row of the ruler (score.py) are made of, and cost: CPU-seconds, over all tries that each took."""

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bundler.rehearse.process_memory import children_of
from multihead.config.settings import WITHOUT_EFFECT, Settings, settings_dict
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file

SOURCE = Path(__file__).resolve().parent.parent / "src"
SECONDS_BETWEEN_LOOKS = 0.2  # not one long wait: where polars was at work, an interrupt does not end that
SECONDS_TO_END = 60  # that an interrupted command has; a study takes half of it for its own trainings
VERSION, CODE = "version of the code", 2  # raise it where code changes the weights. 2: a cutmix box for each image
UNKNOWN: Mapping[str, Any] = MappingProxyType({})


def deciding_settings(settings: Settings, threads: int = 0) -> dict[str, Any]:
    """Return what the weights depend on, as JSON has it: the settings, and the threads of a study's training."""
    every = settings_dict(settings.model) | settings_dict(settings.run) | {"threads": threads}
    kept = {key: value for key, value in every.items() if key not in WITHOUT_EFFECT | {"study_fold"}}
    return dict(json.loads(json.dumps(kept)))


def set_options(overrides: Iterable[str]) -> list[str]:
    """Return settings, as --set takes them, as the options of a command."""
    return [part for override in overrides for part in ("--set", override)]


class Cost(NamedTuple):
    """CPU-seconds of the tries so far.

    is_measured: whether these are all that there were. is_finished: whether the last try came to its end. made_of: what
    decides the result, as JSON has it.
    """

    cpu_seconds: float = 0.0
    is_measured: bool = True
    is_finished: bool = False
    made_of: Mapping[str, Any] = UNKNOWN


def run(command: Sequence[str | Path], out: Path, made_of: Mapping[str, Any] = UNKNOWN) -> None:
    """Run a command, and add the CPU-seconds of its processes to the cost of the folder that it fills, however it ends.

    An interrupt is passed on to it, and its end awaited; with a second one it is killed, and all that it began. What a
    command kills at an interrupt counts as it was when that came. Where this process is killed, what the try costs is
    lost, and the cost is not measured from then on. Raises UserError where the command fails.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    log, before, code = _beside(out, "log"), _cpu_seconds(), None
    at_least, cost = 0.0, cost_of(out)._replace(is_finished=False, made_of=made_of)
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
        try:
            at_least = _of_tree(process.pid)  # what an interrupted command kills tells nobody of its time
        finally:
            _end(process)
        raise
    finally:
        seconds = cost.cpu_seconds + max(_cpu_seconds() - before, at_least)
        _write(out, cost._replace(cpu_seconds=seconds, is_finished=code == 0))
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise UserError(f"{log}: exit code {code}: {lines[-1] if lines else 'no output'}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt a command that leads a session; after SECONDS_TO_END, or a second interrupt, kill the session."""
    try:
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS_TO_END)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_once(command: Sequence[str | Path], out: Path, made_of: Mapping[str, Any]) -> None:
    """Run a command unless it came to its end before; UserError where what is there is made of something else."""
    refuse_other(out, made_of)
    if not cost_of(out).is_finished:
        out.mkdir(parents=True, exist_ok=True)
        run(command, out, made_of)


def refuse_other(out: Path, made_of: Mapping[str, Any]) -> None:
    """Raise UserError where a folder was begun with something else. What another program began is taken as it is."""
    known = cost_of(out).made_of
    if known and known != made_of:
        other = [key for key in dict.fromkeys([*made_of, *known]) if known.get(key) != made_of.get(key)]
        raise UserError(f"{out}: made of other {', '.join(other)}; delete it, or name another folder")


def cost_of(out: Path) -> Cost:
    """Return what a folder has cost so far; not measured is that of one that another program began."""
    path = _beside(out, "json")
    if not out.is_dir() or not any(out.iterdir()):
        return Cost()
    return Cost(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else Cost(is_measured=False)


def _write(out: Path, cost: Cost) -> None:
    with whole_file(_beside(out, "json")) as new:
        new.write_text(json.dumps({**cost._asdict(), "made_of": dict(cost.made_of)}) + "\n", encoding="utf-8")


def _of_tree(pid: int) -> float:
    """Return the CPU-seconds of a process, of its descendants, and of what these awaited; 0 where there is no /proc."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(map(int, values[11:15])) / os.sysconf("SC_CLK_TCK")  # utime, stime, cutime, cstime: proc(5)
    return own + sum(map(_of_tree, children_of(pid)))


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(f"{out.name}.{suffix}")


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
