import argparse
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

import multihead
from multihead import commands
from multihead.cli import _parser
from multihead_study import cli as home
from multihead_study.cli import parser
from tests.conftest import HOUSE

COMMANDS = ("train", "predict", "label", "child", "evaluate", "report", "inspect", "settings", "schema")
AT_HOME = ("cross-validate", "runs", "compare")
TEXTS = [HOUSE / "README.md", *HOUSE.glob("docs/*.md"), *HOUSE.glob("benchmarks/*.md")]
IN_TEXTS = [
    (path.name, command)
    for path in TEXTS
    for command in re.findall(r"^\.venv/bin/multihead (.+?)(?: +#.*)?$", path.read_text().replace("\\\n", ""), re.M)
]


@pytest.mark.parametrize("command", ["", *COMMANDS, *AT_HOME])
def test_the_help_ends_with_what_the_exit_codes_mean(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        home.main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert "exit codes:\n  0    done\n" in capsys.readouterr().out


def test_each_command_says_what_it_does_and_each_option_what_it_means() -> None:
    for whole, names in ((_parser(), COMMANDS), (parser(), (*COMMANDS, *AT_HOME))):
        (of_commands,) = [action for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
        assert tuple(of_commands.choices) == names
        for name, command in of_commands.choices.items():
            assert command.description, name
            assert [action.dest for action in command._actions if not action.help] == [], name


def test_every_command_is_a_function_of_its_name() -> None:
    assert all(callable(getattr(commands, name)) for name in COMMANDS)


@pytest.mark.parametrize(("text", "command"), IN_TEXTS)
def test_a_command_that_a_text_names_is_understood(text: str, command: str) -> None:
    assert parser().parse_args(shlex.split(command)).command in (*COMMANDS, *AT_HOME)


def test_what_is_installed_is_the_same_command_and_version() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"multihead": "multihead_study.cli:main"}
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "multihead.__version__"}
    done = subprocess.run(
        [sys.executable, "-m", "multihead", "--version"],
        cwd=HOUSE / "src",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{multihead.__version__}\n"
