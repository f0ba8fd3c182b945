"""The ruler: what a change of the recipe is worth, by answers out of fold to every train image.

    PYTHONPATH=src .venv/bin/python -m benchmarks.score DATA STUDIES [--only NAME]... [--fonts FONT ...]
    PYTHONPATH=src .venv/bin/python -m benchmarks.score DATA [--only NAME]...

DATA is a competition's folder, of which only the train files are read. The first form trains the rows that are missing
or stale, each as a study of five short folds by `multihead cross-validate` (docs/studies.md), and keeps their answers
in benchmarks/rows/. The second prints the rows that are kept. R is over the classes present, with the prior divided out
by exponents that were chosen on the other folds, and each head for itself. A row may have a first stage
(first_stage.py), whose cost counts with the row's; its graphemes are rendered in these fonts.

Both sides of a gain have the same images, folds and seed, but for the row "another seed"; where they did not take the
same CPU-seconds, the table says so. The 95 % interval is by paired bootstrap over the images (scoring/paired.py); it
says nothing of another seed.

STUDIES/ROW/ is the study of a row. A finished one is read, also where an earlier code trained it. STUDIES/ROW.log has
what it printed, STUDIES/ROW.json what it has cost so far; one that was broken off goes on.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.costs import CODE, VERSION, cost_of, deciding_settings, refuse_other, run, set_options
from benchmarks.first_stage import PRETRAINED, FirstStage
from benchmarks.kept_rows import KeptRow, answers_of, changed_settings, read_images, read_row, write_row
from benchmarks.programs import interrupt_on_signals, printed
from bundler.study.lock import locked
from bundler.study.study import read_study
from bundler.study.trial import TRIAL_FILE, State, read_state
from multihead.config.files import SETTINGS_FILE
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError
from multihead.scoring.metrics import task_score
from multihead.scoring.paired import paired_gain
from multihead_study.answers import joined_folds
from multihead_study.folds import read_folds

HOUSE = Path(__file__).resolve().parent.parent
KEPT = HOUSE / "benchmarks" / "rows"
FOLDS, WORKERS, THREADS = 5, 2, 1
FIRST_STAGE = "first stage"  # among the settings of a row
COLUMNS = "change", "R out of fold ± standard error", "gain (95 % interval)", "over", "CPU-seconds", "times the other's"
SAME_TIME = 0.05  # by how much of it the CPU-seconds of two sides may differ


class Row(NamedTuple):
    """A change of the recipe: what it sets on top of all that the row sets over which its gain is, as --set takes it.

    first_stage: what a training on rendered graphemes sets in the recipe, whose weights the row's trainings start from;
    None: as the row has it over which the gain is. decoded: the row sets nothing, and decodes the answers of that row's
    study over train's label combinations.
    """

    against: str
    changes: Mapping[str, str]
    first_stage: Mapping[str, str] | None = None
    decoded: bool = False


def row_of_network(backbone: str, over: str) -> Row:
    """Return a row of another network, with a first stage of its own that is as long as RENDERED's."""
    return Row(over, {"backbone": backbone}, first_stage=SHORT | {"backbone": backbone})


RECIPE = HOUSE / "benchmarks" / "ruler.toml"
NOTEBOOK = {  # but for its plateaus: a study's trainings follow no held-out images
    "epochs": "9",
    "batch_size": "32",
    "optimizer": "rmsprop",
    "learning_rate": "2e-5",
    "min_learning_rate": "2e-5",
    "warmup_epochs": "0",
    "ema_decay": "0",
    "loss_weights": "equal",
    "mixup_share": "0.5",
    "cutmix_alpha": "0.4",
    "augmentation": '[{name="affine",rotation_degrees=16,zoom=0.15,shift=0.15}]',
}
RENDERED = "first stage on rendered graphemes"
SHORT = {"epochs": "5"}  # a first stage
ROWS = {
    "base": Row("", {}),
    "another seed": Row("base", {"seed": "1"}),
    "train's combinations": Row("base", {}, decoded=True),
    RENDERED: Row("base", {"epochs": "6"}, first_stage=SHORT),
    "the notebook's recipe": Row("base", NOTEBOOK),
    "a first stage of ten epochs": Row(RENDERED, {}, first_stage={"epochs": "10"}),
    "resnet16": row_of_network("resnet16", over=RENDERED),
    "gates and more features": row_of_network("resnet16-se-1024", over="resnet16"),
    "twice the epochs": Row(
        "gates and more features", {"epochs": "12"}, first_stage={"epochs": "10", "backbone": "resnet16-se-1024"}
    ),
    "filters times 1.5": row_of_network("resnet16-se-1536", over="gates and more features"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; a mistake in it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a competition's folder")
    parser.add_argument("studies", type=Path, nargs="?", help="where the rows' studies lie; without it none is trained")
    parser.add_argument("--only", choices=ROWS, action="append", help="these rows only")
    parser.add_argument("--fonts", type=Path, nargs="+", default=[], help="of first stages (docs/further-images.md)")
    printed(_lines(parser.parse_args(argv)))


def _lines(arguments: argparse.Namespace) -> Iterator[str]:
    ruler = Ruler(arguments.data, arguments.studies, arguments.fonts)
    names = arguments.only or list(ROWS)
    if not arguments.studies:
        yield from ruler.table(names)
        return
    arguments.studies.mkdir(parents=True, exist_ok=True)
    with locked(arguments.studies):
        yield from ruler.table(names)


class Ruler:
    """Measures rows on the train images of a competition's folder; without a folder of studies, only reads them."""

    def __init__(self, data: Path, studies: Path | None, fonts: Sequence[Path] = ()) -> None:
        self._data, self._studies, self._fonts = data, studies, fonts
        self._task = read_settings(RECIPE).task
        self._images = read_images(data, self._task)

    def table(self, names: Sequence[str]) -> Iterator[str]:
        """Yield the lines of a table with these rows, each once it is measured, and below it what there is to say."""
        yield f"| {' | '.join(COLUMNS)} |"
        yield f"|{'---|' * len(COLUMNS)}"
        rows: dict[str, KeptRow] = {}
        notes: dict[str, str] = {}
        for name in names:
            for needed in filter(None, (ROWS[name].against, name)):
                if needed not in rows | notes:
                    row, note = self._measured(needed)
                    rows |= {needed: row} if row else {}
                    notes |= {needed: note} if note else {}
            if name in rows:
                yield self._line(name, rows[name], rows.get(ROWS[name].against))
        pairs = [(rows[name], rows.get(ROWS[name].against)) for name in names if name in rows]
        if any(_is_unequal(*pair) for pair in pairs):
            yield f"\n*: the two sides did not take the same time: CPU-seconds more than {SAME_TIME:.0%} apart"
        if not all(row.is_measured for pair in pairs for row in pair if row):
            yield "\n~: not measured; it is how many seconds the trainings ran, with one thread each"
        yield from (f"\n{name}: {note}" for name, note in notes.items())

    def settings(self, name: str) -> dict[str, Any]:
        """Return all that the weights of a row's study depend on, but for the fold."""
        own = read_settings(RECIPE, [*overrides_of(name), f"study_folds={FOLDS}"])
        return deciding_settings(own, THREADS) | {FIRST_STAGE: dict(first_stage_of(name)[1]), VERSION: CODE}

    def _measured(self, name: str) -> tuple[KeptRow | None, str]:
        """Return a row, and what there is to say where it is none."""
        path, settings, note = KEPT / f"{slug(name)}.npz", self.settings(name), "not measured yet"
        if path.is_file():
            kept = read_row(path, self._images)
            defaults = deciding_settings(read_settings(None), THREADS) | {FIRST_STAGE: {}, VERSION: 1}  # of later keys
            if not (changed := changed_settings({**defaults, **kept.settings}, settings)):
                return kept, ""
            note = f"stale: measured with {changed}"
        if not self._studies:
            return None, note
        row = self._measure(name, self._studies, settings)
        write_row(path, row)
        return row, ""

    def _measure(self, name: str, studies: Path, settings: Mapping[str, Any]) -> KeptRow:
        """Return a row from its study, which is trained where it is not finished."""
        study = studies / slug(_trained(name))
        of_first, changes = first_stage_of(name)
        first = FirstStage(studies, slug(of_first), RECIPE, changes)
        made_of = {key: settings[key] for key in (FIRST_STAGE, VERSION)}
        refuse_other(study, made_of)
        if {state.fold for state in finished(study).values()} != set(range(FOLDS)):
            command = [sys.executable, "-m", "multihead_study", "cross-validate", str(self._data), "--out", str(study)]
            numbers = {"--folds": FOLDS, "--workers": WORKERS, "--threads": THREADS, "--settings": RECIPE}
            options = [str(part) for option in numbers.items() for part in option]
            overrides = overrides_of(name)
            if of_first:
                overrides.append(f"pretrained={first.weights(self._data, self._fonts)}")
            run([*command, *options, *set_options(overrides)], study, made_of)
        states = finished(study)
        for trial in states:
            before = deciding_settings(read_settings(trial / SETTINGS_FILE), read_study(study).threads)
            if changed := changed_settings(before | made_of, settings):
                raise UserError(f"{trial}: was trained with {changed}; delete the study, or name another folder")
        joined = joined_folds(read_folds(study))
        out_of_fold = joined.answers if ROWS[name].decoded else joined.answers_alone
        answers = answers_of(out_of_fold, self._images, study)
        cost, wall_seconds = cost_of(study), sum(state.seconds for state in states.values())
        return KeptRow(
            images=self._images.sha256,
            settings=settings,
            cpu_seconds=cost.cpu_seconds if cost.is_measured else max(cost.cpu_seconds, wall_seconds),
            shared_cpu_seconds=first.cpu_seconds if of_first else 0.0,
            is_measured=cost.is_measured and (not of_first or first.is_measured),
            score=task_score(self._images.truth, answers, self._task).present_total,
            answers=answers,
        )

    def _line(self, name: str, row: KeptRow, against: KeptRow | None) -> str:
        score = task_score(self._images.truth, row.answers, self._task)
        gain = over = times = ""
        if against:
            gain = str(paired_gain(self._images.truth, against.answers, row.answers, self._task)[0])
            over = ROWS[name].against
            times = f"{row.all_cpu_seconds / against.all_cpu_seconds:.2f}{' *' * _is_unequal(row, against)}"
        seconds = f"{'' if row.is_measured else '~'}{row.all_cpu_seconds:,.0f}"
        cells = (name, f"{score.present_total:.4f} ± {score.standard_error:.4f}", gain, over, seconds, times)
        return f"| {' | '.join(cells)} |"


def slug(name: str) -> str:
    """Return a row's name as that of a file."""
    return re.sub(r"\W+", "-", name)


def changes_of(name: str) -> dict[str, str]:
    """Return all that a row sets in the recipe: what the rows set that it builds on, and its own."""
    row = ROWS[name]
    return (changes_of(row.against) if row.against else {}) | dict(row.changes)


def overrides_of(name: str) -> list[str]:
    """Return all that a row's study sets in the recipe, as --set takes it; of its weights the name alone."""
    start = {"pretrained": PRETRAINED} if first_stage_of(name)[0] else {}
    return [f"{key}={value}" for key, value in (changes_of(name) | start).items()]


def first_stage_of(name: str) -> tuple[str, Mapping[str, str]]:
    """Return the row whose first stage this one has, and what that sets; "" and nothing for none."""
    row = ROWS[name]
    if row.first_stage is not None:
        return name, row.first_stage
    return first_stage_of(row.against) if row.against else ("", {})


def finished(study: Path) -> dict[Path, State]:
    """Return the finished trials in a study's folder."""
    states = {path.parent: read_state(path) for path in sorted(study.glob(f"*/{TRIAL_FILE}"))}
    return {trial: state for trial, state in states.items() if state.is_finished}


def _trained(name: str) -> str:
    """Return the row whose study gives the answers of this one."""
    return _trained(ROWS[name].against) if ROWS[name].decoded else name


def _is_unequal(row: KeptRow, against: KeptRow | None) -> bool:
    return against is not None and abs(row.all_cpu_seconds / against.all_cpu_seconds - 1) > SAME_TIME


if __name__ == "__main__":
    interrupt_on_signals()
    main()
