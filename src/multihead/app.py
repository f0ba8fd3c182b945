"""The commands: train, predict, evaluate."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from multihead.errors import UserError
from multihead.kaggle_paths import find_input, working_folder
from multihead.progress import say
from multihead.settings import ModelSettings, Settings, read_settings
from multihead.tasks import TASKS, Task, task_by_name

SUBMISSION_FILE = "submission.csv"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 2 after one line about a mistake of the user's."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported; its chatter hides our lines
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "evaluate":
            evaluate(arguments.submission, arguments.truth, task_by_name(arguments.task))
        else:
            command = {"train": train, "predict": predict}[arguments.command]
            command(read_settings(arguments.settings, arguments.set))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def train(settings: Settings) -> None:
    """Train on the competition's shards; leave weights, manifest and history in the working folder."""
    from multihead.devices import prepare_devices

    model, run = settings.model, settings.run
    task = task_by_name(model.task)
    working = working_folder(run.working)
    data = find_input("competition", [task.train_files, task.labels_file], run.data, task.competition)
    say(f"train: {data}")
    prepare_devices(run)
    from multihead.training import Trainer

    state = Trainer(task, model, run, data, working).train()
    told = (
        f"epoch {state.best_epoch}, validation R {state.best_score:.4f}" if state.best_epoch else "unfinished epoch 1"
    )
    say(f"weights: {working}, {told}")


def predict(settings: Settings) -> None:
    """Predict the competition's test files with trained weights; leave submission.csv in the working folder."""
    from multihead.devices import prepare_devices

    run = settings.run
    working = working_folder(run.working)
    prepare_devices(run)
    from multihead.inference import predict_files
    from multihead.shards import find_shards
    from multihead.submission import write_submission
    from multihead.weights import MANIFEST_FILE, WEIGHTS_FILE, load_model, read_manifest

    weights = find_input("weights", [MANIFEST_FILE, WEIGHTS_FILE], run.weights)
    manifest = read_manifest(weights)
    _refuse_other_model(settings, manifest.model)
    task = task_by_name(manifest.model.task)
    data = find_input("competition", [task.test_files, task.sample_submission], run.data, task.competition)
    say(f"predict: {data} with {weights}, epoch {manifest.epoch}")
    network = load_model(weights, manifest)
    predicted = predict_files(network, find_shards(data, task.test_files), task, manifest.model, run.batch_size)
    rows = write_submission(working / SUBMISSION_FILE, data / task.sample_submission, predicted, task)
    say(f"submission: {working / SUBMISSION_FILE} ({rows} rows)")


def evaluate(submission: Path, truth: Path, task: Task) -> None:
    """Print the score of a submission, each head's macro recall, and the classes that the truth lacks."""
    from multihead.submission import score_submission

    score = score_submission(submission, truth, task)
    print(f"R = {score.total:.4f}")
    for head, recall in score.recall.items():
        absent = score.absent[head]
        classes = len(task.heads[head])
        note = (
            f"; averaged over the {classes - len(absent)} classes present, absent: {_listed(absent)}" if absent else ""
        )
        print(f"  {head:<20} {recall:.4f} (a constant answer: {1 / (classes - len(absent)):.4f}{note})")


def _refuse_other_model(settings: Settings, of_weights: ModelSettings) -> None:
    for key in sorted(settings.given_model_keys):
        given, trained = getattr(settings.model, key), getattr(of_weights, key)
        if given != trained:
            raise UserError(
                f"{key} = {given!r}, but the weights were trained with {trained!r}; leave it out to predict"
            )


def _listed(classes: Sequence[int]) -> str:
    return ", ".join(map(str, classes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="multihead", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in (("train", train), ("predict", predict)):
        run = commands.add_parser(name, help=command.__doc__)
        run.add_argument("--settings", type=Path, help="a TOML file with the tables [model] and [run]")
        run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    score = commands.add_parser("evaluate", help=evaluate.__doc__)
    score.add_argument("submission", type=Path)
    score.add_argument("truth", type=Path)
    score.add_argument("--task", default="bengali", choices=TASKS)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
