"""The command line: its parser, the command that it calls, and the exit code."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from multihead import __version__, commands
from multihead.config.known_tasks import TASKS, read_task, task_by_name
from multihead.config.settings import Settings
from multihead.config.settings_file import read_settings
from multihead.config.task import Task
from multihead.data.locate import is_kernel
from multihead.runtime.background import is_busy
from multihead.runtime.errors import UserError

INTERRUPTED, CLOSED_PIPE = 130, 141  # exit codes: 128 and the number of SIGINT or SIGPIPE

DESCRIPTION = (
    "Train image classifiers with one or more heads on the files of a Kaggle competition, and predict with them."
)
EXIT_CODES = """\
exit codes:
  0    done
  1    a fault of the program, after its traceback; on Kaggle, any failure
  2    a mistake in the command, the settings or the files, or a fault of the machine such as a full disk:
       one line on standard error
  130  interrupted by Ctrl-C
  141  the reader of the output went away, as head does
"""


def main(
    argv: Sequence[str] | None = None,
    parser: argparse.ArgumentParser | None = None,
    command: Callable[[argparse.Namespace], None] | None = None,
) -> int:
    """Run one command and return the exit code: 0, or 2 after one line about a mistake of the user's; 1 at Kaggle's.

    It is 130 after Ctrl-C, and 141 where the output's reader went away, as a shell has them.
    Where a thread still reads or hangs, the process ends here, after a traceback too: Python's own end would wait for
    libraries that do, or abort the process in the middle of one.
    parser, command: where there are more commands than the package's, what reads the arguments and what runs them.
    """
    code = 1
    try:
        code = _run((parser or _parser()).parse_args(argv), command or run_command)
        print(end="", flush=True)  # does nothing where the process was started without an output
    except OSError as error:  # of the output: its reader wants no more, as head does, or its disk is full
        with contextlib.suppress(OSError):  # Python's end would try again to write
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 2
        if isinstance(error, BrokenPipeError):
            code = CLOSED_PIPE
        else:
            print(f"error: the output could not be written: {error}", file=sys.stderr, flush=True)
    except Exception:
        if not is_busy():
            raise
        traceback.print_exc()
    if code and is_kernel():  # Kaggle knows only success and failure
        code = 1
    if is_busy() and "ipykernel" not in sys.modules:
        with contextlib.suppress(OSError, AttributeError):  # a log that takes no more, or none, is no reason to fail
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    return code


def _run(arguments: argparse.Namespace, command: Callable[[argparse.Namespace], None]) -> int:
    """Run the command and return its exit code; a mistake, and a fault of the machine, become one line."""
    try:
        command(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"interrupted{''.join(f': {text}' for text in interruption.args)}", file=sys.stderr, flush=True)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a file that went away: the machine's fault, and its words are enough
        lines = [frame for frame in traceback.extract_tb(error.__traceback__) if "/multihead/" in frame.filename]
        place = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
        print(f"error: {type(error).__name__}: {error}{place}", file=sys.stderr, flush=True)
        return 2
    return 0


def run_command(arguments: argparse.Namespace) -> None:
    """Run the command of the arguments."""
    match arguments.command:
        case "train":
            commands.train(_settings(arguments))
        case "predict":
            commands.predict(_settings(arguments))
        case "label":
            commands.label(_settings(arguments), arguments.folder, arguments.files)
        case "child":
            commands.child()
        case "settings":
            commands.settings(_settings(arguments))
        case "inspect":
            data = [f"data={arguments.data}"] if arguments.data else []
            commands.inspect(_settings(arguments, data), arguments.out)
        case "report":
            commands.report(arguments.run)
        case "evaluate":
            task = task_named(arguments.task)
            commands.evaluate(arguments.submission, arguments.truth, task, arguments.train, arguments.classes)
        case "schema":
            commands.schema(arguments.folder)


def task_named(text: str) -> Task:
    """Return a task by its name, or from its task.toml."""
    return read_task(Path(text)) if text.endswith(".toml") else task_by_name(text)


def _settings(arguments: argparse.Namespace, more_overrides: Sequence[str] = ()) -> Settings:
    return read_settings(arguments.settings, [*arguments.set, *more_overrides])


def _parser() -> argparse.ArgumentParser:
    return parser_and_add()[0]


def parser_and_add() -> tuple[argparse.ArgumentParser, Callable[[str, str], argparse.ArgumentParser]]:
    """Return the parser of the package's commands, and what adds another one by its name and its summary."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("multihead", description=DESCRIPTION, epilog=EXIT_CODES, formatter_class=form)
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(
        dest="command", required=True, title="commands (multihead COMMAND --help explains each)", metavar="COMMAND"
    )

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        return subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EXIT_CODES,
            formatter_class=form,
            allow_abbrev=False,
        )

    _add_settings(
        add(
            "train", "train on a competition's files; leave weights, manifest, history and report in the working folder"
        )
    )
    _add_settings(
        add(
            "predict",
            "predict a competition's test files with trained weights; leave submission.csv in the working folder",
        )
    )
    label = add("label", "predict the images in a folder, and leave each one's probabilities there, for further_images")
    label.add_argument("folder", type=Path, help="the folder of the images")
    label.add_argument(
        "--files",
        default="",
        metavar="PATTERN",
        help="glob pattern of the files below it (default: the task's test files, or its train files if it has none)",
    )
    _add_settings(label)
    description = "What train and predict start for each of several GPUs; of no use to a person."  # so not in the list
    subparsers.add_parser("child", description=description, epilog=EXIT_CODES, formatter_class=form)
    _add_evaluate(add("evaluate", "print the score of a submission whose truth is known, and the worst classes"))
    report = add("report", "write the report of a training again: one page, in its folder report")
    report.add_argument("run", type=Path, help="the working folder of a training, or what `pull train` brought of it")
    _add_inspect(
        add("inspect", "print what the train files hold and what is wrong with them; draw samples of each class")
    )
    _add_settings(add("settings", "print every setting as a run would have it, defaults included, as TOML"))
    schema = add("schema", "print the JSON schemas of settings.toml and task.toml, by which editors complete and check")
    schema.add_argument(
        "folder", nargs="?", type=Path, help="write them there, as settings.json and task.json, instead of printing"
    )
    return parser, add


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="a TOML file with the tables [model] and [run], and a task.toml beside it if the task is not built in "
        "(default: the default of every setting)",
    )
    add_set(command)


def add_set(command: argparse.ArgumentParser) -> None:
    """Give a command the option for single settings."""
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, such as epochs=3; may be given again",
    )


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", nargs="?", help="the folder of the competition's files (default: the setting data)")
    command.add_argument(
        "--out",
        type=Path,
        default=Path(commands.SAMPLES_FILE),
        metavar="FILE",
        help="the page to write, of samples of each class (default: %(default)s)",
    )
    _add_settings(command)


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument("submission", type=Path, help="the file to score, such as submission.csv")
    command.add_argument(
        "truth",
        type=Path,
        help="what is right: a file in the submission's form, labelled test images, or the folder of either",
    )
    command.add_argument(
        "--task", default="bengali", help=f"one of {', '.join(TASKS)}, or a task.toml (default: %(default)s)"
    )
    command.add_argument(
        "--train",
        type=Path,
        metavar="FILE",
        help="the table of train labels: score combinations of labels seen and unseen in it apart",
    )
    command.add_argument("--classes", type=Path, metavar="FILE", help="a CSV file to write: the recall of each class")


if __name__ == "__main__":
    raise SystemExit(main())
