"""The log and how far a stage is, on a terminal and in a log."""

import io
import logging
import sys
import time

import pytest

from multihead.runtime.log import ONCE, log
from multihead.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_has_the_time_in_front_and_a_warning_its_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("100% of it")
    log.warning("odd")
    log.error("worse")
    log.debug("details")
    lines = capsys.readouterr().out.splitlines()
    assert [line[12:] for line in lines] == ["100% of it", "warning: odd", "error: worse"]
    assert all(line.startswith("[") and line[9:12] == "s] " for line in lines)


def test_what_is_to_be_said_once_is_left_out_the_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"said once, at {time.monotonic()}"
    for _ in range(2):
        log.warning(text, extra=ONCE)
        log.warning("said each time")
    printed = capsys.readouterr().out
    assert (printed.count(text), printed.count("said each time")) == (1, 2)


def test_other_programs_may_hear_the_log_and_set_its_level() -> None:
    file = io.StringIO()
    handler = logging.StreamHandler(file)
    handler.setLevel(logging.WARNING)
    log.addHandler(handler)
    try:
        log.info("not heard")
        log.warning("heard")
    finally:
        log.removeHandler(handler)
    assert file.getvalue() == "heard\n"


def test_in_a_log_there_is_a_plain_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("multihead.runtime.progress.time.monotonic", lambda: next(clock))
    with Progress("epoch 1", 90) as stage:
        for done in range(10, 100, 10):
            stage.advance(10, f"  epoch 1: {done} images", 0.5)
    printed = capsys.readouterr().out
    assert 1 < printed.count("\n") < 9
    assert printed.splitlines()[0].endswith("s]   epoch 1: 30 images")
    assert "\x1b" not in printed


def test_on_a_terminal_there_is_one_live_line_and_other_lines_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("epoch 1", 300) as stage:
        for _ in range(3):
            stage.advance(100, "  a line of a log", 0.1234)
            time.sleep(0.15)
        log.info("a line meanwhile")
    shown = terminal.getvalue()
    assert all(text in shown for text in ("epoch 1", "300/300", "images/s", "loss 0.123", "a line meanwhile"))
    assert "a line of a log" not in shown
    assert sys.stdout is terminal
    assert "\x1b[2K" in shown.rpartition("a line meanwhile")[2]  # the live line is wiped out at the end


def test_a_long_line_above_the_live_one_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    text = "/a/long/path" * 25 + " [not markup] 12 3.4 'text'"
    with Progress("epoch 1", 300) as stage:
        stage.advance(100, "", 0.1)
        log.info(text)
    assert text in terminal.getvalue()


class Closed(io.StringIO):
    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("fault", ["no output", "closed", "no rich", "dumb"])
def test_where_no_live_line_is_possible_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    terminal = Closed() if fault == "closed" else Terminal()
    monkeypatch.setenv("TERM", "dumb" if fault == "dumb" else "xterm")
    if fault == "no rich":
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    monkeypatch.setattr(sys, "stdout", None if fault == "no output" else terminal)
    monkeypatch.setattr("multihead.runtime.progress.SECONDS", 0)
    with Progress("epoch 1", 20) as stage:
        stage.advance(10, "  half of it")
    assert fault == "no output" or terminal.getvalue().endswith("s]   half of it\n")


def test_of_two_stages_one_in_the_other_only_the_outer_one_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("outer", 10) as outer, Progress("inner", 10) as inner:
        inner.advance(5, "")
        outer.advance(5, "")
        time.sleep(0.15)
    assert "outer" in terminal.getvalue()
    assert "inner" not in terminal.getvalue()
