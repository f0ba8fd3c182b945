"""A child that knows the ways of one and does as its variable DOES says, for tests: no network, no images."""

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

number, parent = os.environ["MULTIHEAD_CHANNEL"].split()
channel = Connection(int(number))
does, _, path = os.environ.get("DOES", "").partition(" ")


def predict() -> None:
    """Answer each file with a table of what it was given, like multihead.prediction.worker."""
    import pandas as pd

    from multihead.prediction.stages import Stages
    from multihead.prediction.work import Done, Problem, Wanted

    channel.recv_bytes()
    if does == "waits":
        Path(path).read_bytes()  # of a pipe with a name, until its other end was opened and closed
    files: list[int] = []
    while True:
        channel.send(Wanted(not files))
        given = channel.recv()
        if given.file is None:
            files = []
            continue
        files.append(given.file)
        if does == "dies":
            Path(path).write_bytes(b"")
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "tells":
            channel.send(Problem("odd", path))
        table = pd.DataFrame({"left": [given.images_left]}, index=[f"Test_{given.file}"])
        stages = Stages(2 * len(files), len(files), 1.0, 2 * len(files), 3.0)
        channel.send(Done([given.file], table, 2 * len(files), stages, (), is_late=does == "late"))
        if does == "late":
            return


print(f"begun by {parent} at {os.environ['MULTIHEAD_STARTED']}", flush=True)
match does:
    case "fails":
        sys.exit("error: no such thing")
    case "train":
        print(f"trained {channel.recv()}", flush=True)
    case "outlives":  # unless it ends with its parent
        from multihead.runtime.children import channel as end_with_parent

        end_with_parent()
        with Path(path).open("w") as pipe:
            pipe.write("begun\n")
            pipe.flush()
            signal.pause()
    case _:
        predict()
