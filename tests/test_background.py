import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from multihead.runtime import background
from multihead.runtime.background import in_background, is_busy
from tests.conftest import HOUSE

INSIDE_OF_POLARS = """
import threading
import polars
from multihead import cli
from multihead.runtime import background

def spin(_):
    is_inside.set()
    while True:
        pass

def end(*_):
    background.in_background(polars.LazyFrame({"a": [1]}).select(polars.col("a").map_batches(spin)).collect)
    is_inside.wait()
    ENDING

is_inside = threading.Event()
cli._run = end
raise SystemExit(cli.main(["settings"]))
"""


@pytest.mark.parametrize(
    ("ending", "code", "last"),
    [
        ("return 0", 0, []),
        ("return 2", 2, []),
        ("raise RuntimeError('unforeseen')", 1, ["RuntimeError: unforeseen"]),
    ],
)
def test_a_thread_inside_of_a_library_leaves_the_exit_code_as_it_is(ending: str, code: int, last: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INSIDE_OF_POLARS.replace("ENDING", ending)],
        env=os.environ | {"PYTHONPATH": str(HOUSE / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (code, last)


def test_work_that_two_threads_begin_at_once_is_known_to_be_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    other = threading.Thread(target=in_background, args=[goes_on.wait])

    class SlowToTell(Future[Any]):
        def done(self) -> bool:  # asked while one thread goes over what was begun; the other begins its work meanwhile
            if not other.ident:
                other.start()
                other.join(0.2)
            return True

    monkeypatch.setattr(background, "_begun", [SlowToTell()])
    in_background(lambda: None).result()
    other.join()
    assert is_busy()
    goes_on.set()
