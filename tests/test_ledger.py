"""The table of runs: what is listed, what is said of what is broken, and the page in a browser."""

import base64
import hashlib
import html
import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import BundlerError
from bundler.kaggle.submissions import Submission
from bundler.study.study import STUDY_FILE
from bundler.study.trial import LOG_FILE, TRIAL_FILE
from multihead.config.files import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    MANIFEST_FILE,
    RECORD_FILE,
    REPORT_FOLDER,
    SETTINGS_FILE,
    WEIGHTS_FILE,
)
from multihead.config.settings import RunSettings, settings_dict
from multihead.runtime.errors import UserError
from multihead.training.record import make_record, save_record
from multihead_study import cli
from multihead_study.answers import CHOICES_FILE, join
from multihead_study.ledger import Run, best_first, find_runs, shared_settings
from multihead_study.run_table import PAGE_FILE, table, write_page
from tests.test_report import CHROMIUM
from tests.test_study_answers import leave_study, leave_trial, random_fold


def leave_training(folder: Path, number: int = 0, **settings: Any) -> Path:
    """Leave what a training without a study does; its settings in a record where there are some."""
    leave_trial(folder.parent, number, 0, random_fold(0)).rename(folder)
    (folder / TRIAL_FILE).unlink()
    if settings:
        save_record(folder, make_record("", settings_dict(RunSettings(**settings)), None, None))
    return folder


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def named(runs: Sequence[Run]) -> dict[str, Run]:
    return {run.name: run for run in runs}


def test_every_training_and_study_below_a_folder_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = leave_study(tmp_path / "first" / "study", [random_fold(0), random_fold(1)])
    (study / "small-fold1-seed0" / HISTORY_FILE).unlink()
    joined = join(study)
    (study / ".hidden").mkdir()
    (study / ".hidden" / WEIGHTS_FILE).write_text("")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / MANIFEST_FILE).write_text('{"of": "another program"}')
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / HISTORY_FILE).write_text("of,a,browser\n")
    runs = named(find_runs(tmp_path))
    assert list(runs) == ["first/study", "first/study/small-fold0-seed0", "first/study/small-fold1-seed0"]
    whole, trial, other = runs.values()
    assert (whole.is_study, whole.score, whole.images) == (True, joined.score.present_total, 240)
    assert (whole.minutes, whole.images_per_second, whole.device) == (3.0, 200.0, "CPU")
    assert whole.settings == trial.settings == {"image_size": [32, 32]}
    assert (trial.score, trial.error, trial.minutes, trial.images_per_second) == (0.51, 0.01, 1.5, 200.0)
    assert other.images_per_second is None
    assert (whole.note, trial.note) == ("2 trials", "")
    assert cli.main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pairs; CPU; keras 3.13; all with image_size=[32, 32]"
    assert lines[1].split()[:3] == ["run", "saved", "score"]
    assert lines[2].startswith("first/study (study)")
    assert lines[3].startswith("  small-fold0-seed0 ")
    assert lines[-1] == str(tmp_path / PAGE_FILE)
    page = (tmp_path / PAGE_FILE).read_text()
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert all(name in page for name in runs)


def test_a_plain_training_is_listed_with_the_minutes_that_fitting_took(tmp_path: Path) -> None:
    leave_training(tmp_path / "plain")
    (run,) = find_runs(tmp_path)
    assert run.minutes == pytest.approx(sum(130 / speed for speed in (100, 200, 300)) / 60)
    (named_itself,) = find_runs(tmp_path / "plain")
    assert named_itself.name == "plain"


def test_the_trials_of_a_study_stand_below_it_and_are_no_runs_of_another(tmp_path: Path) -> None:
    for name, shift in (("a", 0), ("a/b", 4)):
        leave_study(tmp_path / name, [random_fold(shift), random_fold(shift + 1)])
    runs = find_runs(tmp_path)
    studies = [run for run in runs if run.is_study]
    assert [(run.name, run.minutes, run.score, run.note) for run in sorted(studies, key=lambda run: run.name)] == [
        (name, 3.0, None, "2 trials; not joined: the same cross-validate does it") for name in ("a", "a/b")
    ]
    assert {run.study for run in runs if run.name.startswith("a/b/")} == {"a/b"}


def test_what_is_not_finished_says_how_far_it_is(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(number) for number in range(5)])
    join(study)
    for fold in (3, 4):
        trial = study / f"small-fold{fold}-seed0"
        change(trial / TRIAL_FILE, is_finished=False)
        (trial / SETTINGS_FILE).write_text("[run]\nepochs = 8\nbatch_size = 7\n")
    (trial / LOG_FILE).write_text("epoch 4\nerror: epoch 4: the loss is nan or has made a weight infinite\n")
    (trial / MANIFEST_FILE).unlink()
    running = tmp_path / "running"
    running.mkdir()
    (running / CHECKPOINT_FILE).write_text("")
    leave_training(tmp_path / "stopped", 9, epochs=30)
    runs = named(find_runs(tmp_path))
    assert runs["study"].note == "3 of 5 trials finished"
    assert runs["study"].score is not None
    assert runs["study/small-fold3-seed0"].note == "3 of 8 epochs"
    assert runs["study/small-fold4-seed0"].note == (
        "3 of 8 epochs; no weights yet; error: epoch 4: the loss is nan or has made a weight infinite"
    )
    assert runs["study/small-fold4-seed0"].settings == {"epochs": 8, "batch_size": 7}
    assert (runs["running"].note, runs["running"].score) == ("0 epochs; no weights yet", None)
    assert runs["stopped"].note == "3 of 30 epochs"


@pytest.mark.parametrize(
    ("file", "content", "note"),
    [
        (MANIFEST_FILE, "{", r"manifest\.json: damaged \(Expecting property name"),
        (MANIFEST_FILE, "[]", r"manifest\.json: damaged \(no table of names and values\)"),
        (MANIFEST_FILE, "{}", "a file of it is damaged .*format"),
        (MANIFEST_FILE, '{"format": 3}', "manifest.json: format 3; this version reads format 4"),
        (HISTORY_FILE, "epoch\n1\n", r"history\.csv: not a history"),
        (TRIAL_FILE, "{", r"trial\.json: not what a trial leaves"),
        (TRIAL_FILE, '{"parts": 3}', r"trial\.json: not what a trial leaves"),
    ],
)
def test_what_is_damaged_says_so_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, note: str
) -> None:
    study = leave_study(tmp_path / "study", [random_fold(0), random_fold(1)])
    leave_training(tmp_path / "other", 7)
    (study / "small-fold0-seed0" / file).write_text(content)
    runs = named(find_runs(tmp_path))
    assert set(runs) == {"other", "study", "study/small-fold0-seed0", "study/small-fold1-seed0"}
    assert re.match(note, runs["study/small-fold0-seed0"].note)
    assert runs["study"].note.startswith("1 of 2 trials finished")
    assert runs["other"].score == runs["study/small-fold1-seed0"].score == 0.51
    assert cli.main(["runs", str(tmp_path)]) == 0
    assert "Traceback" not in capsys.readouterr().out


def test_a_study_of_some_folds_says_of_how_many_and_leaves_out_trials_of_others(tmp_path: Path) -> None:
    folds = [random_fold(number) for number in range(5)]
    study = leave_study(tmp_path / "study", folds[:3], of=12)
    join(study)
    assert named(find_runs(tmp_path))["study"].note == "3 of 12 folds; 3 trials"
    values = json.loads((study / STUDY_FILE).read_text())
    (study / STUDY_FILE).write_text(json.dumps(values | {"trained": 2}))
    assert named(find_runs(tmp_path))["study"].note == (
        "2 of 12 folds; 2 trials; the score is of 3 folds; the same cross-validate joins it anew"
    )
    trial = study / "small-fold2-seed0" / TRIAL_FILE
    trial.write_text(json.dumps(json.loads(trial.read_text()) | {"is_finished": False}))
    joined = join(study)
    run = named(find_runs(tmp_path))["study"]
    assert (run.note, run.is_finished, run.images) == ("2 of 12 folds; 2 trials", True, len(joined.answers.ids))


def test_a_damaged_study_and_a_score_that_is_no_number_say_so(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(0), random_fold(1)])
    (study / CHOICES_FILE).write_text("{")
    trial = study / "small-fold0-seed0"
    change(trial / MANIFEST_FILE, score={"present_total": float("nan"), "standard_error": float("nan")})
    (trial / REPORT_FOLDER).mkdir()
    (trial / REPORT_FOLDER / RECORD_FILE).write_bytes(b"cut")
    runs = named(find_runs(tmp_path))
    assert runs["study"].note.startswith("2 trials; answers.json: damaged")
    assert (runs["study/small-fold0-seed0"].note, runs["study/small-fold0-seed0"].score) == (
        "its score is not finite",
        None,
    )
    (study / STUDY_FILE).write_text("{}")
    assert named(find_runs(tmp_path))["study"].note.startswith("study.json: not what a study leaves")


def test_a_folder_that_cannot_be_entered_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_training(tmp_path / "open")
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    runs = named(find_runs(tmp_path))
    assert runs["closed"].note == "cannot be read (Permission denied)"
    assert runs["open"].score == 0.51


def test_a_linked_run_is_listed_once_and_other_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = leave_training(tmp_path / "elsewhere", 1)
    (tmp_path / "disk").mkdir()
    leave_training(tmp_path / "disk" / "deep", 2)
    runs = tmp_path / "runs"
    leave_training(runs / "own", 3)
    (runs / "a-link-to-own").symlink_to(runs / "own")
    (runs / "moved").symlink_to(elsewhere)
    (runs / "again").symlink_to(elsewhere)
    (runs / "disk").symlink_to(tmp_path / "disk")
    (runs / "loop").symlink_to(runs)
    (runs / "own" / "up").symlink_to(runs)
    (runs / "gone").symlink_to(tmp_path / "nothing")
    names = [run.name for run in find_runs(runs)]
    assert len(names) == 2
    assert "own" in names
    assert len({"moved", "again"} & set(names)) == 1


def test_the_newest_come_first_and_the_best_where_that_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # room for whole names
    study = leave_study(tmp_path / "study", [random_fold(0), random_fold(1)])
    for number, (name, score) in enumerate({"old": 0.9, "new": None, "newest": 0.2}.items(), 5):
        folder = leave_training(tmp_path / name, number)
        change(folder / MANIFEST_FILE, score=score and {"present_total": score})
    for path in tmp_path.rglob("*.*"):
        age = {"old": 300, "new": 20, "newest": 10}.get(path.parent.name, 200)
        os.utime(path, (1e9 - age, 1e9 - age))
    os.utime(study / "small-fold1-seed0" / MANIFEST_FILE, (1e9 - 15, 1e9 - 15))
    trials = ["study/small-fold0-seed0", "study/small-fold1-seed0"]
    runs = find_runs(tmp_path)
    assert [run.name for run in runs] == ["newest", "study", *trials, "new", "old"]
    assert [run.name for run in best_first(runs)] == ["old", *trials, "newest", "study", "new"]
    assert cli.main(["runs", str(tmp_path), "--best"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("old  ")
    assert lines[3].startswith("study/small-fold0-seed0  ")


def submission(weights: Sequence[str], date: str, public: float | None = None) -> Submission:
    private = public and public - 0.1
    names = dict(zip("abcdef", weights, strict=False))
    return Submission("some", "o/k", 1, "", date, names, "1", "complete", public, private)


def test_the_leaderboards_scores_stand_by_the_weights_that_were_submitted(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(number) for number in range(3)])
    digests = [
        json.loads((study / f"small-fold{number}-seed0" / MANIFEST_FILE).read_text())["sha256"] for number in range(3)
    ]
    runs = named(
        find_runs(
            tmp_path,
            [
                submission(digests[:1], "2026-01-02", 0.6),
                submission(digests[:1], "2026-01-03"),
                submission(digests[:1], "2026-01-01", 0.5),
                submission(digests, "2026-01-01", 0.9),
                submission([digests[0], "of another study"], "2026-01-04", 0.99),
                submission([], "2026-01-04", 0.99),
            ],
        )
    )
    assert (runs["study/small-fold0-seed0"].public, runs["study/small-fold0-seed0"].private) == (0.6, 0.5)
    assert runs["study/small-fold1-seed0"].public is None
    assert runs["study"].public == 0.9
    assert runs["study"].private == pytest.approx(0.8)
    lines = list(table(list(runs.values()), 120))
    assert re.search(r"study \(study\) .* 0\.9000 +0\.8000 ", "\n".join(lines))


def test_the_command_shows_what_was_submitted_from_this_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = leave_training(tmp_path / "plain")
    digest = json.loads((folder / MANIFEST_FILE).read_text())["sha256"]
    kept = type("Kept", (), {"submissions": [submission([digest], "2026-01-01", 0.9371)]})
    monkeypatch.setattr(cli, "read_kept", lambda _: kept)
    assert cli.main(["runs", str(tmp_path)]) == 0
    assert "0.9371" in capsys.readouterr().out

    def damaged(_: object) -> None:
        raise BundlerError("submissions.json: not what push leaves")

    monkeypatch.setattr(cli, "read_kept", damaged)
    assert cli.main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "without the leaderboard's scores: submissions.json: not what push leaves"
    assert any(line.startswith("plain") for line in lines)


RUNS = [
    Run("a/study", is_study=True, note="2 trials", task="digits", settings={"epochs": 3}, score=0.5, error=0.01),
    Run("a/study/trial", "a/study", task="digits", settings={"epochs": 3, "seed": 1}, score=0.25, minutes=1234.5),
    Run("b", task="digits", settings={"epochs": 3, "augmentation": [{"name": "x" * 300}]}, minutes=7, saved=1e9),
    Run("broken" * 20, note="manifest.json: damaged (" + "y" * 300 + ")"),
]


def test_the_table_is_no_wider_than_the_terminal_and_says_once_what_all_share() -> None:
    for width in (80, 120):
        lines = list(table(RUNS, width))
        assert max(map(len, lines)) <= width
        assert lines[0] == "digits; all with epochs=3"
        assert lines[1].split() == ["run", "saved", "score", "minutes", "note,", "settings"]
        assert lines[3].startswith("  trial  ")
        assert any("0.5000 ±0.0100" in line for line in lines)
    assert "seed=1" in lines[3]
    assert 'augmentation=[{"name": "xxx' in lines[4]
    assert lines[5].startswith("..." + ("broken" * 20)[-27:] + "  ")
    assert list(table([], 120)) == ["no training and no study"]
    assert shared_settings(RUNS[:1]) == {}
    (_, alone) = table([replace(RUNS[0], task="")], 120)
    assert alone.endswith("2 trials; epochs=3")


def test_a_folder_that_takes_no_page_has_its_table_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_training(tmp_path / "plain")
    (tmp_path / PAGE_FILE).mkdir()
    assert cli.main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("plain")
    assert lines[-1] == f"{tmp_path / PAGE_FILE}: not written (Is a directory)"
    with pytest.raises(UserError, match="not there, or no folder"):
        find_runs(tmp_path / "none")


def test_hundreds_of_runs_take_seconds_for_no_weights_are_read(tmp_path: Path) -> None:
    folder = leave_training(tmp_path / "first", epochs=3)
    for number in range(300):
        copy = tmp_path / f"run{number}"
        (copy / REPORT_FOLDER).mkdir(parents=True)
        for path in (HISTORY_FILE, MANIFEST_FILE, f"{REPORT_FOLDER}/{RECORD_FILE}"):
            os.link(folder / path, copy / path)
        with (copy / WEIGHTS_FILE).open("wb") as file:
            file.truncate(10_000_000_000)  # a hole, which would take minutes to hash
    begun = time.process_time()
    assert len(find_runs(tmp_path)) == 301
    assert time.process_time() - begun < 3


PROBE = """<!doctype html><body>
<iframe id=f style="width:%dpx;height:800px;border:0" srcdoc="%s"></iframe>
<script>
onload = () => {
  const page = document.getElementById("f").contentDocument;
  const headers = [...page.querySelectorAll("th")];
  const columns = Object.fromEntries(headers.map(header => [header.textContent, header]));
  const shown = () => [...page.querySelectorAll("tbody tr")].map(row => row.cells[0].textContent);
  const sorted = name => {
    const button = columns[name].querySelector("button");
    button.focus();
    if (page.activeElement !== button) return "a heading takes no focus";
    button.click();
    return [columns[name].getAttribute("aria-sort"), ...shown()];
  };
  document.title = JSON.stringify({
    window: page.documentElement.clientWidth,
    page: page.documentElement.scrollWidth,
    cells: Math.min(...[...page.querySelectorAll("td.long")].map(cell => cell.clientWidth)),
    first: shown(),
    minutes: sorted("minutes"),
    again: sorted("minutes"),
    score: sorted("score"),
    run: sorted("run"),
    marked: page.querySelectorAll("[aria-sort]").length,
  });
};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1600, 390])
def test_in_a_browser_a_heading_sorts_numbers_as_numbers_and_what_is_missing_last(tmp_path: Path, width: int) -> None:
    runs = [*RUNS[:3], Run("c10", minutes=20.25, score=0.0), Run("c9")]
    page = write_page(tmp_path, runs).read_text()
    (tmp_path / "probe.html").write_text(PROBE % (width, html.escape(page)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1700,900"]
    command = [str(CHROMIUM), *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    address = (tmp_path / "probe.html").as_uri()
    done = subprocess.run([*command, address], capture_output=True, encoding="utf-8", timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    dom = done.stdout
    found = re.search(r"<title>(.*?)</title>", dom.split("<iframe")[0] + dom.rsplit("</iframe>", 1)[-1])
    assert found, dom[:500]
    seen = json.loads(html.unescape(found[1]))
    study, trial = "a/study (study)", "a/study/trial"
    assert seen["first"] == [study, trial, "b", "c10", "c9"]
    assert seen["minutes"] == ["descending", trial, "c10", "b", study, "c9"]
    assert seen["again"] == ["ascending", "b", "c10", trial, study, "c9"]
    assert seen["score"] == ["descending", study, trial, "c10", "b", "c9"]
    assert seen["run"] == ["ascending", study, trial, "b", "c9", "c10"]
    assert seen["marked"] == 1
    assert seen["page"] <= seen["window"] <= width
    assert seen["cells"] >= 150


def test_a_file_of_a_person_is_no_page_to_write_over(tmp_path: Path) -> None:
    page = write_page(tmp_path, [])
    assert write_page(tmp_path, []) == page
    page.write_text("<title>my runs</title>")
    with pytest.raises(UserError, match=r"runs\.html: not a page of runs; it is left as it is"):
        write_page(tmp_path, [])
