"""How a rehearsed run is kept apart from this machine: what isolated.py is asked for, and what it can do here."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.rehearse import isolated

OFFLINE = "none: a network namespace with loopback only"
ONLINE = "none: connections refused in Python, for want of network namespaces"
READ_ONLY, COMPARED, HIDDEN = "inputs mounted read-only", "inputs compared afterwards", "home hidden"


@dataclass(frozen=True)
class Isolation:
    """The command that runs another one apart from this machine, and what it keeps apart, in words.

    is_supervised: that command and its child only watch over the run.
    """

    words: str
    command: Sequence[str] = ()
    is_supervised: bool = False


def strictest(spec: isolated.Spec, file: Path, claims: Sequence[str] = (READ_ONLY,)) -> Isolation:
    """Return the strictest isolation that this machine allows; its spec is written into a file.

    claims: what the spec's mounts keep apart, in words. Each level is tried: a container may allow user namespaces but
    no mount, and only Linux has any.
    """
    mounts = "; ".join([OFFLINE, *claims])
    levels = [
        (spec, mounts),
        (spec._replace(processes=False), f"{mounts}; processes seen, not their own"),
        (spec._replace(processes=False, mounts=False), f"{OFFLINE}; {COMPARED}"),
        (spec._replace(processes=False, mounts=False, network=False), f"{ONLINE}; {COMPARED}"),
    ]
    command = [sys.executable, "-I", "-S", isolated.__file__, str(file)]
    for level, words in levels:
        file.write_text(json.dumps(level._asdict()), encoding="utf-8")
        if _works([*command, "true"]):
            return Isolation(words, command, level.processes)
    return Isolation(levels[-1][1])


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
