"""The ruler: rows of the recipe's table, what is kept of them, and what they cost."""

import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from benchmarks import first_stage, score
from benchmarks.costs import CODE, VERSION, cost_of, run, run_once
from benchmarks.kept_rows import Classes, KeptRow, answers_of, read_images, read_row, write_row
from benchmarks.score import FIRST_STAGE, Row, Ruler
from bundler.study.lock import locked
from multihead.config.files import SETTINGS_FILE
from multihead.config.settings import WITHOUT_EFFECT
from multihead.config.settings_file import read_settings
from multihead.config.toml_text import settings_text
from multihead.data.augment import try_steps
from multihead.runtime.errors import UserError
from multihead.scoring.out_of_fold import OutOfFold
from multihead_study.answers import joined_folds
from multihead_study.folds import Fold, read_folds
from tests.built_in import BENGALI
from tests.conftest import HOUSE
from tests.test_render_graphemes import LETTERS, draw_font
from tests.test_study_answers import leave_study, likely

IMAGES = 120
FOLDS = 3  # the least with which combinations are chosen
ROWS = {
    "base": Row("", {}),
    "decoded": Row("base", {}, decoded=True),
    "longer": Row("base", {"epochs": "11"}),
    "longer, of another seed": Row("longer", {"seed": "1"}),
}


def random_classes(seed: int, images: int) -> Classes:
    rng = np.random.default_rng(seed)
    return {head: rng.integers(0, len(classes), images) for head, classes in BENGALI.heads.items()}


def of_few_combinations(seed: int) -> Classes:
    """Return the classes of images that show each combination several times."""
    rng = np.random.default_rng(seed)
    combination = rng.integers(0, 12, IMAGES)
    return {head: rng.integers(0, len(classes), 12)[combination] for head, classes in BENGALI.heads.items()}


def leave_labels(folder: Path, truth: Classes) -> Path:
    """Leave a competition's train files, but without the pixels."""
    folder.mkdir(parents=True)
    ids = [f"Train_{number}" for number in range(len(truth["grapheme_root"]))]
    pd.DataFrame({"image_id": ids, **truth}).to_csv(folder / "train.csv", index=False)
    pl.DataFrame({"image_id": ids}).write_parquet(folder / "train_image_data_0.parquet")
    return folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A competition's folder, and rows of few folds that are kept outside of the repository."""
    monkeypatch.setattr(score, "KEPT", tmp_path / "rows")
    monkeypatch.setattr(score, "ROWS", ROWS)
    monkeypatch.setattr(score, "FOLDS", FOLDS)
    return leave_labels(tmp_path / "data", of_few_combinations(0))


def no_training(command: object, study: object) -> None:
    raise AssertionError("trained")


def keep(data: Path, name: str, answers: Classes, seconds: float = 100.0, shared: float = 0.0) -> Path:
    """Keep these answers as if the row had been measured."""
    images, settings = read_images(data, BENGALI), Ruler(data, None).settings(name)
    path = score.KEPT / f"{score.slug(name)}.npz"
    write_row(path, KeptRow(images.sha256, settings, seconds, shared, True, 0.5, answers))
    return path


def partly_right(data: Path, wrong: int) -> Classes:
    """Return answers that are wrong for the first images, in the order of the sorted ids."""
    truth = read_images(data, BENGALI).truth
    is_wrong = np.arange(IMAGES) < wrong
    return {head: (truth[head] + is_wrong) % len(classes) for head, classes in BENGALI.heads.items()}


def table(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, list[str]], str]:
    """Return the printed rows by their names, and what stands below the table."""
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {name: rest for name, *rest in cells[2:]}, "\n".join(line for line in lines if not line.startswith("|"))


def leave_trained(folder: Path, data: Path, name: str, ids: range = range(IMAGES)) -> Path:
    """Leave the finished study of a row, as another program would."""
    labels = pd.read_csv(data / "train.csv").set_index("image_id")
    ruler, rng, folds = Ruler(data, None), np.random.default_rng(0), []
    for number in range(FOLDS):
        names = [f"Train_{row}" for row in ids if row % FOLDS == number]
        truth = {head: labels.loc[names, head].to_numpy() for head in BENGALI.heads}
        said = {head: likely(truth[head], len(classes), rng, 0.6) for head, classes in BENGALI.heads.items()}
        counts = {head: [3] * len(classes) for head, classes in BENGALI.heads.items()}
        folds.append(Fold(names, truth, {"small": said}, counts, {"small": [f"small-fold{number}-seed0"]}))
    leave_study(folder, folds, BENGALI)
    settings = ruler.settings(name)
    model = {key: settings[key] for key in ("backbone", "image_size", "crop")}
    run = {
        key: value
        for key, value in settings.items()
        if key not in {*model, "threads", "task", FIRST_STAGE, VERSION, *WITHOUT_EFFECT}
    }
    run = {key: value for key, value in run.items() if key not in ("fold", "dropout", "stack_layers")}
    for fold in range(FOLDS):
        text = settings_text({"model": model, "run": run | {"study_fold": fold}})
        (folder / f"small-fold{fold}-seed0" / SETTINGS_FILE).write_text(text)
    return folder


@pytest.mark.parametrize("name", score.ROWS)
def test_the_settings_of_every_row_are_known(name: str) -> None:
    settings = read_settings(score.RECIPE, [f"{key}={value}" for key, value in score.changes_of(name).items()])
    try_steps(settings.run.augmentation, (*settings.model.image_size, settings.task.image_shape[2]))


def test_no_row_shares_a_file_with_another_or_sets_something_over_decoded_answers() -> None:
    slugs = [score.slug(name).casefold() for name in score.ROWS]
    assert len(set(slugs)) == len(slugs)
    for row in score.ROWS.values():
        assert row.against in ("", *score.ROWS)
        assert not (row.decoded and row.changes)
        assert not (row.against and score.ROWS[row.against].decoded)


def test_a_row_sets_what_the_rows_set_that_it_builds_on(data: Path) -> None:
    ruler = Ruler(data, None)
    base, longer, other = (ruler.settings(name) for name in ("base", "longer", "longer, of another seed"))
    assert (base["epochs"], longer["epochs"], other["epochs"]) == (10, 11, 11)
    assert (base["seed"], longer["seed"], other["seed"]) == (0, 0, 1)
    assert base["image_size"] == other["image_size"] == [64, 64]


def test_the_answers_to_11200_images_take_at_most_60_kb_and_are_read_as_they_were_written(tmp_path: Path) -> None:
    answers = random_classes(1, images=11_200)
    images = read_images(leave_labels(tmp_path / "data", random_classes(0, images=11_200)), BENGALI)
    row = KeptRow(images.sha256, {"epochs": 10}, 812.5, 20.0, True, 0.82, answers)
    write_row(tmp_path / "row.npz", row)
    assert (tmp_path / "row.npz").stat().st_size <= 60_000
    read = read_row(tmp_path / "row.npz", images)
    assert read._replace(answers={}) == row._replace(answers={})
    assert all(np.array_equal(read.answers[head], answers[head]) for head in BENGALI.heads)


def test_answers_are_put_in_the_order_of_the_sorted_ids(data: Path) -> None:
    images = read_images(data, BENGALI)
    labels = pd.read_csv(data / "train.csv").sample(frac=1, random_state=0)
    truth = {head: labels[head].to_numpy() for head in BENGALI.heads}
    shuffled = OutOfFold("", labels["image_id"].tolist(), truth, {}, truth)
    sorted_answers = answers_of(shuffled, images, data)
    assert all(np.array_equal(sorted_answers[head], images.truth[head]) for head in BENGALI.heads)


def test_a_row_of_other_images_and_a_damaged_one_are_refused(data: Path, tmp_path: Path) -> None:
    path = keep(data, "base", partly_right(data, 10))
    other = leave_labels(tmp_path / "other", of_few_combinations(7))
    with pytest.raises(SystemExit, match=r"error: .*base\.npz: answers other images than the train images"):
        score.main([str(other)])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SystemExit, match=r"error: .*base\.npz: not a row of the ruler"):
        score.main([str(data)])


def test_kept_rows_become_a_table_without_training(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(score, "run", no_training)
    keep(data, "base", partly_right(data, 60), seconds=1000)
    keep(data, "longer", partly_right(data, 0), seconds=1040)
    keep(data, "longer, of another seed", partly_right(data, 60), seconds=1000, shared=200)
    score.main([str(data)])
    rows, below = table(capsys)
    assert list(rows) == ["base", "longer", "longer, of another seed"]
    assert rows["base"][1:] == ["", "", "1,000", ""]
    assert rows["longer"][0].startswith("1.0000 ± ")
    assert rows["longer"][1].startswith("+")
    assert rows["longer"][2:] == ["base", "1,040", "1.04"]
    assert rows["longer, of another seed"][1].startswith("-")
    assert rows["longer, of another seed"][2:] == ["longer", "1,200", "1.15 *"]
    assert "*: the two sides did not take the same time" in below
    assert "decoded: not measured yet" in below


def test_no_remark_about_time_stands_below_sides_that_took_the_same(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(data, "base", partly_right(data, 60), seconds=1000)
    keep(data, "longer", partly_right(data, 0), seconds=960)
    score.main([str(data), "--only", "longer"])
    rows, below = table(capsys)
    assert list(rows) == ["longer"]
    assert rows["longer"][-1] == "0.96"
    assert not below


def test_a_row_kept_with_other_settings_is_named_as_stale(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(data, "base", partly_right(data, 60))
    keep(data, "longer", partly_right(data, 0))
    monkeypatch.setattr(score, "ROWS", ROWS | {"longer": Row("base", {"epochs": "12"})})
    score.main([str(data), "--only", "base", "--only", "longer"])
    rows, below = table(capsys)
    assert list(rows) == ["base"]
    assert below.strip() == "longer: stale: measured with epochs = 11, here 12"


def test_a_setting_that_is_new_since_a_row_was_kept_had_its_default(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep(data, "base", partly_right(data, 60))
    images = read_images(data, BENGALI)
    row = read_row(path, images)
    for absent, is_kept in (("label_smoothing", True), ("weight_decay", False)):
        settings = {key: value for key, value in row.settings.items() if key != absent}
        write_row(path, row._replace(settings=settings))
        score.main([str(data), "--only", "base"])
        assert ("base" in table(capsys)[0]) == is_kept


def test_a_finished_study_is_read_and_not_trained_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(score, "run", no_training)
    leave_trained(tmp_path / "studies" / "base", data, "base")
    score.main([str(data), str(tmp_path / "studies"), "--only", "base", "--only", "decoded"])
    rows, below = table(capsys)
    assert rows["base"][-2:] == ["~270", ""]  # what the trials say that they ran
    assert rows["decoded"][2:] == ["base", "~270", "1.00"]
    assert "~: not measured" in below
    kept = {name: read_row(score.KEPT / f"{name}.npz", read_images(data, BENGALI)) for name in ("base", "decoded")}
    joined = joined_folds(read_folds(tmp_path / "studies" / "base"))
    assert joined.score != joined.heads_alone
    for name, out_of_fold in (("base", joined.answers_alone), ("decoded", joined.answers)):
        expected = dict(zip(out_of_fold.ids, out_of_fold.answers["grapheme_root"], strict=True))
        assert kept[name].answers["grapheme_root"].tolist() == [expected[image] for image in sorted(expected)]
    score.main([str(data), "--only", "base", "--only", "decoded"])
    assert table(capsys) == (rows, below)


def test_a_finished_study_with_other_settings_or_of_other_images_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "run", no_training)
    leave_trained(tmp_path / "studies" / "base", data, "longer")
    with pytest.raises(SystemExit, match="small-fold0-seed0: was trained with epochs = 11, here 10; delete the study"):
        score.main([str(data), str(tmp_path / "studies"), "--only", "base"])
    leave_trained(tmp_path / "fewer" / "base", data, "base", range(IMAGES - 2))
    with pytest.raises(SystemExit, match="answers other images than the train images"):
        score.main([str(data), str(tmp_path / "fewer"), "--only", "base"])
    assert not score.KEPT.exists()


BURN = "import os, signal, sys, time\nwhile time.process_time() < 0.3: pass\n"


@pytest.mark.usefixtures("handler_of_python")
def test_the_cpu_seconds_of_a_study_are_those_of_all_its_tries(tmp_path: Path) -> None:
    study = tmp_path / "studies" / "base"
    begin = f"import pathlib; p = pathlib.Path({str(study)!r}); p.mkdir(); (p / 'study.json').touch()\n"
    interrupt = "os.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)"
    with pytest.raises(UserError, match=r"base\.log: exit code 1: no more room"):
        run([sys.executable, "-c", f"{begin}{BURN}sys.exit('no more room')"], study)
    assert 0.3 <= cost_of(study).cpu_seconds < 3
    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", f"{BURN}{interrupt}"], study)
    run([sys.executable, "-c", BURN], study)
    assert cost_of(study).cpu_seconds >= 0.9
    assert cost_of(study).is_measured


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
@pytest.mark.usefixtures("handler_of_python")
def test_what_an_interrupted_command_kills_counts_as_well(tmp_path: Path) -> None:
    child = f"{BURN}os.kill(int(sys.argv[1]), signal.SIGINT)\ntime.sleep(60)"
    command = f"""
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}, str(os.getppid())])
try:
    time.sleep(60)
except KeyboardInterrupt:
    child.kill()
    os._exit(1)
"""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "left").touch()
    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", command], tmp_path / "base")
    assert cost_of(tmp_path / "base").cpu_seconds >= 0.28  # in hundredths


@pytest.mark.usefixtures("handler_of_python")
def test_a_second_interrupt_kills_what_does_not_end(tmp_path: Path) -> None:
    interrupt = "os.kill(os.getppid(), signal.SIGINT)"
    stubborn = f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n{interrupt}\ntime.sleep(1)\n{interrupt}\ntime.sleep(50)"
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(
            [sys.executable, "-c", f"import os, signal, time\nprint(os.getpid(), flush=True)\n{stubborn}"],
            tmp_path / "base",
        )
    assert time.monotonic() - begun < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "base.log").read_text()), 0)


def test_the_cost_of_a_study_is_not_measured_where_the_ruler_was_killed_or_another_program_began_it(
    tmp_path: Path,
) -> None:
    study = tmp_path / "base"
    study.mkdir()
    assert cost_of(study).is_measured
    (study / "study.json").touch()
    assert not cost_of(study).is_measured
    (tmp_path / "base.json").write_text(json.dumps({"cpu_seconds": 5.0}))
    run([sys.executable, "-c", f"print(open({str(tmp_path / 'base.json')!r}).read())"], study)
    while_running = json.loads((tmp_path / "base.log").read_text())
    assert (while_running["cpu_seconds"], while_running["is_measured"]) == (5.0, False)  # what a kill leaves
    assert cost_of(study).is_measured


def test_what_is_made_of_something_else_is_refused_and_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    out, touch = tmp_path / "out", f"open({str(tmp_path / 'out' / 'file')!r}, 'a').write('x')"
    command: list[str | Path] = [sys.executable, "-c", touch]
    for _ in range(2):
        run_once(command, out, {"images": 5})
    assert (out / "file").read_text() == "x"
    with pytest.raises(UserError, match="out: made of other images, fonts; delete it, or name another folder"):
        run_once(command, out, {"images": 6, "fonts": []})
    with pytest.raises(UserError, match="exit code 1"):
        run_once([sys.executable, "-c", f"{touch}; exit(1)"], tmp_path / "broken", {})
    run_once([sys.executable, "-c", touch], tmp_path / "broken", {})  # begun again
    assert (out / "file").read_text() == "xxx"


def test_rows_by_an_earlier_code_are_stale(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = keep(data, "base", partly_right(data, 10))
    row = read_row(path, read_images(data, BENGALI))
    write_row(path, row._replace(settings={key: value for key, value in row.settings.items() if key != VERSION}))
    score.main([str(data), "--only", "base"])
    rows, below = table(capsys)
    assert not rows
    assert f"base: stale: measured with {VERSION} = 1, here {CODE}" in below


def test_one_command_at_a_time_works_in_a_folder_of_studies(data: Path, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(SystemExit, match=f"error: .*process {os.getpid()} on .* is at work in it"):
        score.main([str(data), str(tmp_path)])


def test_what_a_first_stage_is_made_of_follows_all_that_decides_its_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(first_stage, "run_once", lambda *parts: made.append(json.dumps(parts[-1])))
    recipe, fonts, weights = tmp_path / "recipe.toml", tmp_path / "fonts", tmp_path / "first.model.weights.h5"
    for path, text in (
        (recipe, "[run]\nepochs = 1\n"),
        (fonts / "a.ttf", "a"),
        (weights, "w"),
        (data / "class_map.csv", ""),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def begin() -> tuple[str, str]:
        made.clear()
        images = first_stage.render(data, tmp_path / "rendered", [fonts])
        first_stage.train(recipe, tmp_path, tmp_path / "out", [f"pretrained={weights}"], images)
        return made[0], made[1]

    rendered, trained = begin()
    assert begin() == (rendered, trained)
    for path, text in ((recipe, "[run]\nepochs = 2\n"), (weights, "v")):
        path.write_text(text)
        assert begin()[0] == rendered
        assert begin()[1] != trained
        trained = begin()[1]
    (fonts / "a.ttf").write_text("b")
    assert begin()[0] != rendered
    assert begin()[1] != trained


def test_a_folder_without_the_tables_to_render_from_is_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no class_map\.csv in"):
        first_stage.render(data, tmp_path / "rendered", [data])


def test_a_first_stage_needs_fonts(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "ROWS", {"rendered": Row("", {}, {"epochs": "5"})})
    with pytest.raises(SystemExit, match="rendered: from rendered graphemes; name fonts with --fonts"):
        score.main([str(data), str(tmp_path / "studies")])


@pytest.mark.parametrize("name", score.ROWS)
def test_the_page_says_what_is_kept_of_each_row(name: str) -> None:
    with np.load(HOUSE / "benchmarks" / "rows" / f"{score.slug(name)}.npz") as kept:
        header = json.loads(str(kept["header"]))
    page = (HOUSE / "benchmarks" / "SCORES.md").read_text(encoding="utf-8")
    if cells := re.search(rf"^\| {re.escape(name)}\b[^|]*\|([^|]*)\|.*\|([^|]*)\|[^|]*\|$", page, re.MULTILINE):
        assert cells[1].split()[0] == f"{header['score']:.4f}"
        assert cells[2].strip() == f"{header['cpu_seconds'] + header['shared_cpu_seconds']:,.0f}"
    else:
        assert f'"{name}", R = {header["score"]:.4f}' in " ".join(page.split())


def test_the_pages_agree_on_what_the_recipes_of_a_cpu_cost_and_reach() -> None:
    scores, recipe, settings, readme = (
        " ".join((HOUSE / name).read_text(encoding="utf-8").replace("\n#", "\n").split())
        for name in ("benchmarks/SCORES.md", "docs/recipe.md", "kernel/train/settings-cpu.toml", "README.md")
    )
    for row, texts, in_readme, machine in (
        (r"four of twelve folds of \[settings-cpu\.toml\]", (recipe, settings), "four networks averaged", ""),
        ("four of eight folds", (recipe,), "four larger networks", " (on a slower machine than the row above)"),
    ):
        found = re.search(rf"\| {row}[^|]*\| ([\d,]+) \| ([\d.]+ ± [\d.]+) \|", scores)
        assert found
        seconds, reached = found.groups()
        for text in texts:
            assert f"{seconds} CPU-seconds" in text
            assert f"R = {reached}" in text
        minutes = round(int(seconds.replace(",", "")) / 60)
        assert f"| Bengali.AI, {in_readme} | R = {reached} | 11,200 | {minutes}{machine} |" in readme


def test_the_study_that_the_page_shows_is_a_row_of_the_ruler() -> None:
    page, scores = (
        " ".join((HOUSE / name).read_text(encoding="utf-8").split())
        for name in ("docs/studies.md", "benchmarks/SCORES.md")
    )
    command = re.search(r"--folds (\d) --out studies/five --settings benchmarks/ruler\.toml --set (\w+)=(\w+) ", page)
    shown = re.search(r"each head for itself ([\d.]+); train's", page)
    assert command
    assert shown
    assert int(command[1]) == score.FOLDS
    assert score.ROWS["another seed"].changes == {command[2]: command[3]}
    assert re.search(rf'"another seed" has R = [\d.]+ by the plainer choice, {re.escape(shown[1])} by this one', scores)


@pytest.mark.slow
def test_the_rows_of_a_small_ruler_are_trained_once(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them begins with a first stage, on graphemes in a font that the test draws."""
    font = draw_font(tmp_path / "boxes.ttf", LETTERS)
    monkeypatch.setattr(first_stage, "IMAGES", 80)
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        '[model]\nbackbone = "narrow"\nimage_size = [32, 32]\n[run]\nepochs = 1\nbatch_size = 32\nmixup_share = 0.0\n'
    )
    rows = {"base": Row("", {}), "decoded": Row("base", {}, decoded=True)}
    rows |= {"rendered": Row("base", {"cutmix_share": "1"}, {"epochs": "2"})}
    for name, value in {"KEPT": tmp_path / "rows", "ROWS": rows, "RECIPE": recipe, "FOLDS": 2}.items():
        monkeypatch.setattr(score, name, value)
    score.main([str(drawn), str(tmp_path / "studies"), "--fonts", str(font)])
    measured, below = table(capsys)
    assert list(measured) == list(rows)
    images = read_images(drawn, BENGALI)
    kept = {name: read_row(score.KEPT / f"{score.slug(name)}.npz", images) for name in rows}
    shared = {name: row.shared_cpu_seconds for name, row in kept.items()}
    assert shared["base"] == 0 < shared["rendered"]
    assert "starting from" in (tmp_path / "studies" / "rendered" / "small-fold0-seed0" / "log.txt").read_text()
    assert "~" not in below
    assert measured["base"][3] == measured["decoded"][3]
    monkeypatch.setattr(score, "run", no_training)
    score.main([str(drawn)])
    assert table(capsys) == (measured, below)
    for path in score.KEPT.glob("*.npz"):
        path.unlink()
    score.main([str(drawn), str(tmp_path / "studies")])
    assert table(capsys) == (measured, below)
