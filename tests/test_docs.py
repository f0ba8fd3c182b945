"""README and docs/: every command is one, every link leads somewhere, tables and printed lines are the code's."""

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tables

from bundler import cli as bundler_cli
from bundler.kaggle import client
from bundler.repository import KERNELS, Repository
from multihead.config.backbones import BACKBONES
from multihead.config.files import CHECKPOINT_FILE, HISTORY_FILE
from multihead.config.known_tasks import TASKS
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.task import FILE_FORMS
from multihead.data.augment import BUILT_IN
from multihead_study import cli as home
from tests.at_kaggle import OUTPUT
from tests.conftest import HOUSE, clone
from tests.kaggle_standin import environment, serving

FILES = ["README.md", "CONTRIBUTING.md", "docs/*.md", "benchmarks/*.md"]
PAGES = {
    str(path.relative_to(HOUSE)): path.read_text(encoding="utf-8")
    for files in FILES
    for path in sorted(HOUSE.glob(files))
}
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TUTORIAL = "docs/tutorial.md"
OPERATORS = ("&&", "||", "|", ">", "do", "done")


def blocks(page: str) -> list[tuple[str, str]]:
    """Return language and text of each block of a page."""
    return [
        (language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for indent, language, text in BLOCK.findall(PAGES[page])
    ]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in a block for the shell, up to where another one begins."""
    for line in re.sub(r"\$\(\(.*?\)\)", "1", text.replace("\\\n", " ")).splitlines():
        words = shlex.split(line, comments=True)
        end = next((place for place, word in enumerate(words) if word in OPERATORS), len(words))
        if words[:end]:
            yield words[:end]


COMMANDS = [
    (page, words)
    for page in PAGES
    for language, text in blocks(page)
    if language == "sh"
    for words in commands(re.sub(r"^(\w+=\S+ )+", "", text, flags=re.MULTILINE))
    if words[0].startswith(".venv/") or words[0] == "make"
]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[" ".join(words)[:80] for _, words in COMMANDS])
def test_a_command_of_the_docs_is_understood(page: str, words: list[str]) -> None:
    program, *arguments = words
    if program == "make":
        targets = re.findall(r"^(?!\.)([\w$()/.-]+):", (HOUSE / "Makefile").read_text(), re.MULTILINE)
        known = {target.replace("$(VENV)", ".venv") for target in targets}
        assert {argument for argument in arguments if "=" not in argument} <= known
    elif program == ".venv/bin/multihead":
        home.parser().parse_args(arguments)
    elif program == ".venv/bin/kaggle":
        command = [str(Path(sys.executable).with_name("kaggle")), *arguments[:2], "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert all(option in done.stdout for option in arguments if option.startswith("-"))
    elif program == ".venv/bin/ray":
        pytest.importorskip("ray", reason="Ray is not installed; it comes with requirements-scale.txt")
        command = [str(Path(sys.executable).with_name("ray")), arguments[0], "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert all(option.partition("=")[0] in done.stdout for option in arguments if option.startswith("-"))
    elif program == ".venv/bin/pip":
        assert (HOUSE / arguments[-1]).is_file()
    elif arguments[0] == "build_kernel.py":
        bundler_cli._parser().parse_args(arguments[1:])
    else:
        assert arguments[:2] == ["-m", "zipfile"] or program_of(arguments).is_file()


def program_of(arguments: list[str]) -> Path:
    if arguments[0] == "-m":
        return HOUSE / f"{arguments[1].replace('.', '/')}.py"
    return HOUSE / arguments[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", PAGES[page])):
        if not target.startswith("http"):
            file, _, section = target.partition("#")
            path = ((HOUSE / page).parent / file) if file else HOUSE / page
            assert path.exists(), target
            assert not section or section in sections(path), target


def sections(path: Path) -> set[str]:
    """Return the addresses that a page's headings have on GitHub."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_a_page_with_a_small_picture_and_names_every_other_one() -> None:
    assert PAGES["README.md"].count("\n") <= 150
    ((picture),) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGES["README.md"])
    assert 10_000 < (HOUSE / picture).stat().st_size < 200_000
    for page in PAGES:
        assert not page.startswith("docs/") or f"({page}" in PAGES["README.md"], page


def test_the_tables_of_settings_are_those_of_the_models() -> None:
    for page in ("docs/settings.md", "docs/tasks.md"):
        assert PAGES[page] == tables.with_tables(PAGES[page]), "PYTHONPATH=src .venv/bin/python docs/tables.py"
    keys = set(re.findall(r"^\| `(\w+)` \|", PAGES["docs/settings.md"], re.MULTILINE))
    assert {field for kind in (ModelSettings, RunSettings) for field in kind.__dataclass_fields__} <= keys


def test_every_backbone_is_on_the_page_of_settings() -> None:
    (table,) = re.findall(r"^## Backbones\n.*?(?=^## )", PAGES["docs/settings.md"], re.MULTILINE | re.DOTALL)
    cells = re.findall(r"`([\w-]+)`", table)
    whole = [cell if not cell.startswith("-") else stem_before(cells, place) + cell for place, cell in enumerate(cells)]
    assert set(BACKBONES) - {name for name in BACKBONES if re.fullmatch(r"efficientnet-b[1-6]", name)} <= set(whole)


def stem_before(cells: list[str], place: int) -> str:
    """Return the name that an abbreviated one, such as -b1 after efficientnetv2-b0, goes on with."""
    whole = next(cell for cell in reversed(cells[:place]) if not cell.startswith("-"))
    return whole.rpartition("-")[0]


def test_every_task_and_reader_and_step_has_its_place_in_the_docs() -> None:
    assert all(f"`{name}`" in PAGES["docs/tasks.md"] for name in (*TASKS, *FILE_FORMS))
    assert all(re.search(f'[`"]{name}[`"]', PAGES["docs/settings.md"]) for name in BUILT_IN)
    assert f"`{CHECKPOINT_FILE}`" in PAGES["docs/sessions.md"]
    assert f"`{HISTORY_FILE}`" in PAGES["docs/report.md"]


def test_the_readme_and_the_tutorial_go_the_same_way() -> None:
    steps = [(page, words[2:4]) for page, words in COMMANDS if words[1] == "build_kernel.py"]
    readme, tutorial = ([words for page, words in steps if page == name] for name in ("README.md", TUTORIAL))
    assert readme == [[*words[:1], "NAME"] if words[0] == "--owner" else words for words in tutorial]


def test_the_tutorial_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step that talks to Kaggle, against a stand-in of it; figures may differ."""
    repository = Repository(clone(tmp_path / "house"))
    monkeypatch.chdir(repository.root)
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0)
    (tmp_path / "home").mkdir()
    parts = blocks(TUTORIAL)
    with serving() as server:
        server.kaggle.output = OUTPUT
        hours = {"timeUsed": "36000s", "timeReserved": "0s", "totalTimeAllowed": "108000s"}
        server.kaggle.quota = {"quotaRefreshTime": "2026-12-05T00:00:00Z", "gpuQuota": hours}
        for name, value in environment(server.server_port, tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        for (_, text), (language, printed) in itertools.pairwise(parts):
            if language == "text":
                ((_, program, *arguments),) = commands(text)
                assert program == "build_kernel.py"
                assert bundler_cli.main(arguments, repository) == 0
                lines, expected = (without_figures(output) for output in (capsys.readouterr().out, printed))
                assert [line for line in lines if line in expected] == expected, text
    assert all(repository.built(kernel).is_file() for kernel in KERNELS)


def without_figures(text: str) -> list[str]:
    return [re.sub(r"[\d,.]*\d", "0", line) for line in text.splitlines()]


QUICK = {  # as the docs have it: with what is there in the place of what the reader has
    "multihead settings --settings kernel/train/settings.toml": "--settings HOUSE/kernel/train/settings.toml",
    "build_kernel.py check": "",
    "multihead inspect data/bengali": "DATA --out OUT/inspect.html",
    "multihead schema docs/schema": "OUT",
    "multihead evaluate SUBMISSION TRUTH --train": "DATA/truth.csv DATA/truth.csv --train DATA/train.csv",
}


@pytest.mark.parametrize("command", QUICK)
def test_a_quick_command_of_the_docs_runs(drawn: Path, tmp_path: Path, command: str) -> None:
    assert any(command in text for text in PAGES.values())
    arguments = QUICK[command].replace("HOUSE", str(HOUSE)).replace("DATA", str(drawn)).replace("OUT", str(tmp_path))
    program, name = command.split()[:2]
    start = ["-m", "multihead"] if program == "multihead" else [str(HOUSE / program)]
    done = subprocess.run(
        [sys.executable, *start, name, *arguments.split()],
        cwd=HOUSE / "src",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
