"""A kernel as a notebook: its cells, what they write, and how it runs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.build import parts
from bundler.build.notebook import build_notebook
from bundler.build.package_files import read_package
from bundler.errors import BundlerError, RehearsalError
from bundler.metadata import NOTEBOOK
from bundler.rehearse import notebook_run
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.rehearsal import Rehearsed, rehearse
from tests.conftest import HOUSE
from tests.rehearsing import log_of, script_of
from tests.test_bundle import SETTINGS, make_package

Run = Callable[[list[str]], dict[str, str]]
CELLS = ["title", "heading-settings", "settings", "task", "arguments", "heading-files", "folder"]  # before the files
LAST = ["sums", "heading-run", "run", "heading-results", "results"]  # after them
TEXTS = ["title", *(name for name in (*CELLS, *LAST) if name.startswith("heading"))]
SHELL = """
import contextlib, json, sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        ran = all([shell.run_cell(cell).success for cell in json.loads(line)])
    names = {name: str(shell.user_ns.get(name)) for name in ("ROOT", "SETTINGS", "TASK")}
    print(json.dumps(names if ran else {}), flush=True)
"""


def cells_of(source: bytes) -> dict[str, str]:
    """Return the source of each cell by its id."""
    return {cell["id"]: cell["source"] for cell in json.loads(source)["cells"]}


def built(folder: Path, command: str = "train", **modules: str) -> bytes:
    return build_notebook(make_package(folder, **modules), folder / "settings.toml", command)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """What runs cells in one IPython, in a process of its own, and returns names that they set."""
    folder = tmp_path_factory.mktemp("ipython")
    places = {"IPYTHONDIR": str(folder), "TMPDIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", SHELL],
        env=os.environ | places,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout

        def run_cells(cells: list[str]) -> dict[str, str]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(cells) + "\n")
            process.stdin.flush()
            names: dict[str, str] = json.loads(process.stdout.readline())
            return names

        yield run_cells
        process.stdin.close()


def writing(source: bytes) -> list[str]:
    """Return the cells of code before the run."""
    cells = cells_of(source)
    return [cells[name] for name in cells if name not in (*TEXTS, "run", "results")]


@pytest.mark.parametrize("command", ["train", "predict"])
def test_both_kernels_are_valid_notebooks_below_kaggle_s_limit(command: str) -> None:
    source = build_notebook(HOUSE / "src" / "multihead", HOUSE / "kernel" / command / "settings.toml", command)
    notebook = nbformat.reads(source.decode(), as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len(json.dumps(json.loads(source))) < parts.MAX_BYTES  # as the client sends it
    hidden = [cell for cell in notebook.cells if cell.metadata.get("_kg_hide-input")]
    assert {cell.id for cell in notebook.cells} - {cell.id for cell in hidden} == {*CELLS, *LAST} - {"sums"}
    assert all(cell.metadata.jupyter.source_hidden for cell in hidden)


def test_modules_stand_whole_and_readable_in_their_cells() -> None:
    package = HOUSE / "src" / "multihead"
    cells = cells_of(build_notebook(package, HOUSE / "kernel" / "train" / "settings.toml", "train")).values()
    for path, data in read_package(package).items():
        assert f'%%writefile "$ROOT/src/{path}"\n{data.decode().removesuffix(chr(10))}' in cells


def test_the_same_sources_give_the_same_bytes_and_every_cell_keeps_its_id(tmp_path: Path) -> None:
    source = built(tmp_path / "one")
    assert built(tmp_path / "other") == source
    more = cells_of(built(tmp_path / "more", another="x = 1\n"))
    before = cells_of(source)
    assert [*before][: len(CELLS)] == CELLS
    assert [*before][-len(LAST) :] == LAST
    changed = {name for name in more if more[name] != before.get(name)}
    (new,) = more.keys() - before.keys()
    assert changed == {new, "sums"}
    assert more[new] == '%%writefile "$ROOT/src/multihead/another.py"\nx = 1'


PIECES = [
    *("a", "x = 1", "\n", "\r", "\r\n", "\t", " ", "'''", '"""', "\\", "$ROOT", "{ROOT}", "%%writefile z", "!", "?"),
    *("\ufeff", ">>> ", "... ", "In [1]: ", "\u0995", "\N{SNOWMAN}", "\x0c", "\x1b", "\u2028", "\x85"),
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
ODD = st.one_of(TEXT.map(str.encode), TEXT.map(lambda text: f"{text}\n".encode()), st.binary(max_size=20))
NAMES = st.sampled_from(
    ["a.txt", "b.html", "$c.txt", "{d}.txt", "e f.txt", "it's", '"g"', "\u0995.txt", "-a", "h/i/j.css"]
)


@settings(max_examples=60, deadline=None)
@given(files=st.dictionaries(NAMES, ODD, max_size=6), comment=st.text("ab'\"\\$ {}?!%\t\u0995", max_size=12))
def test_every_file_comes_out_byte_for_byte(
    run: Run, tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], comment: str
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    package = make_package(folder, empty="", crlf="x = 1\r\n", open="x = 1", twice="x = 1\n\n", prompt="...\n")
    settings_text = f"[run]\nepochs = 3  # {comment}\n"
    (folder / "settings.toml").write_text(settings_text)
    for name, data in files.items():
        (package / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (package / "data" / name).write_bytes(data)
    names = run(writing(build_notebook(package, folder / "settings.toml", "predict")))
    root = Path(names["ROOT"])
    assert (names["SETTINGS"], names["TASK"]) == (settings_text, "None")
    there = {str(path.relative_to(root / "src")): path for path in (root / "src").rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in there.items()} == read_package(package)


def rehearsed(folder: Path, inputs: Inputs, body: str, *arguments: str, **modules: str) -> Rehearsed:
    """Rehearse the notebook of a package whose main has this body."""
    return rehearse(script_of(folder, body, NOTEBOOK, **modules), inputs, folder / "root", "new", arguments)


def edit(notebook: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    content = json.loads(notebook.read_bytes())
    change(content["cells"])
    notebook.write_text(json.dumps(content))


def test_a_notebook_runs_as_the_script_does(tmp_path: Path, inputs: Inputs) -> None:
    body = (
        "import multiprocessing, os, pathlib, sys\n"
        "from multihead import squares\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    print(pool.map(squares.square, [1, 2, 3]))\n"
        "print(pathlib.Path.cwd().name, os.listdir('.'), argv[0], argv[3:])\n"
        "print([name for name in ('MPLBACKEND', 'FORCE_COLOR', 'CLICOLOR') if name in os.environ], sys.stdin.read())\n"
        "pathlib.Path('left.txt').write_text('x')"
    )
    result = rehearsed(tmp_path, inputs, body, "--set", "a=1", squares="def square(x):\n    return x * x\n")
    assert log_of(tmp_path).splitlines() == ["[1, 4, 9]", "working [] train ['--set', 'a=1']", "[] "]
    assert [f.name for f in result.working.iterdir()] == ["left.txt"]
    executed = nbformat.read(tmp_path / "root" / "executed.ipynb", as_version=nbformat.NO_CONVERT)
    assert "[1, 4, 9]" in str([cell.outputs for cell in executed.cells if cell.id == "run"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('wrong')", r"exit code 1: ValueError: wrong \(src/multihead/cli\.py, line 2\)"),
        ("print('error: wrong')\nreturn 2", "RuntimeError: multihead train ended with exit code 1: error: wrong"),
        ("import os\nos.kill(os.getpid(), 9)", "RuntimeError: multihead train ended with signal 9"),
        ("import importlib\nimportlib.import_module('my' + 'py')", "ModuleNotFoundError: No module named 'mypy'"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80))", "reached for the network"),
    ],
)
def test_a_run_that_fails_fails_the_notebook(tmp_path: Path, inputs: Inputs, body: str, message: str) -> None:
    with pytest.raises(RehearsalError, match=f"^some_kernel.ipynb .*{message}"):
        rehearsed(tmp_path, inputs, body)


def test_a_rerun_ends_as_that_of_the_script(tmp_path: Path) -> None:
    body = "import os\nreturn 0 if 'KAGGLE_IS_COMPETITION_RERUN' in os.environ else 2"
    notebook = script_of(tmp_path, body, NOTEBOOK)
    command = [sys.executable, notebook_run.__file__, str(notebook), str(tmp_path / "executed.ipynb")]
    for more, code in (({"KAGGLE_IS_COMPETITION_RERUN": "1"}, 0), ({}, 1)):
        environment = os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)} | more
        assert subprocess.run(command, env=environment, cwd=tmp_path, check=False).returncode == code
    assert not list(tmp_path.glob("multihead-*"))


LEAVES = """
import json, pathlib, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
manifest = {"epoch": 3, "score": {"name": "R", "total": 0.98765}}
pathlib.Path("manifest.json").write_text(json.dumps(manifest))
rows = "".join(f"{epoch},0.5\\n" for epoch in range(1, 2001))
pathlib.Path("history.csv").write_text("epoch,loss\\n" + rows)
pathlib.Path("report").mkdir()
pathlib.Path("report/index.html").write_text("<p>the page of the report</p>")
"""


def test_the_last_cell_shows_score_tables_and_report_wherever_the_folder_lies(tmp_path: Path, inputs: Inputs) -> None:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    began = time.monotonic()
    rehearse(script_of(folder, LEAVES.strip(), NOTEBOOK), inputs, folder / "root")
    assert time.monotonic() - began < 50  # whatever the process that it leaves behind does
    executed = nbformat.read(folder / "root" / "executed.ipynb", as_version=nbformat.NO_CONVERT)
    shown = str(next(cell.outputs for cell in executed.cells if cell.id == "results"))
    assert "manifest.json: epoch 3, R 0.9877" in shown
    assert "<td>2000</td>" in shown
    assert "the page of the report" in shown
    assert "are not shown" not in shown


def test_what_the_cells_themselves_do_is_confined_too(tmp_path: Path, inputs: Inputs) -> None:
    notebook = script_of(tmp_path, "pass", NOTEBOOK)
    edit(notebook, lambda cells: cells[CELLS.index("settings")].update(source="import mypy"))
    with pytest.raises(RehearsalError, match="exit code 1: ModuleNotFoundError: No module named 'mypy'"):
        rehearse(notebook, inputs, tmp_path / "root")


def test_a_cell_that_was_edited_or_removed_is_named_and_runs(tmp_path: Path, inputs: Inputs) -> None:
    modules = {"greeting": "WORD = 'as built'\n", "unused": "x = 1\n"}
    notebook = script_of(tmp_path, "from multihead import greeting\nprint(greeting.WORD)", NOTEBOOK, **modules)

    def change(cells: list[dict[str, Any]]) -> None:
        cells[:] = [cell for cell in cells if 'unused.py"\n' not in cell["source"]]
        for cell in cells:
            cell["source"] = cell["source"].replace("WORD = 'as built'", "WORD = 'edited'")

    edit(notebook, change)
    rehearse(notebook, inputs, tmp_path / "root")
    assert log_of(tmp_path).splitlines() == [
        "warning: src/multihead/greeting.py is not as it was built",
        "warning: src/multihead/unused.py is missing",
        "edited",
    ]


def test_results_that_cannot_be_shown_fail_no_run(tmp_path: Path, inputs: Inputs) -> None:
    rehearsed(tmp_path, inputs, "import pathlib\npathlib.Path('manifest.json').write_text('{}')")
    assert log_of(tmp_path) == "the results are not shown: KeyError('score')\n"


def test_a_path_of_home_is_named_with_its_module_or_its_cell(tmp_path: Path, inputs: Inputs) -> None:
    home = str(Path.home())
    notebook = script_of(tmp_path, f"print({home!r} + '/x')", NOTEBOOK)
    with pytest.raises(RehearsalError, match=r"^src/multihead/cli\.py, line 2: names "):
        rehearse(notebook, inputs, tmp_path / "root")
    edit(notebook, lambda cells: cells[CELLS.index("settings")].update(source=f"SETTINGS = '''\ndata = {home}'''"))
    with pytest.raises(RehearsalError, match=r"^some_kernel\.ipynb, cell settings, line 2: names "):
        rehearse(notebook, inputs, tmp_path / "root")


def test_a_notebook_over_the_limit_is_named_with_what_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(json.dumps(json.loads(built(tmp_path / "one", large=f"x = '{'k' * 9000}'\n"))))
    monkeypatch.setattr(parts, "MAX_BYTES", size + 10_000)
    built(tmp_path / "two", large=f"x = '{'k' * 9000}'\n")
    message = "^the notebook has .* bytes, Kaggle takes fewer than .*; largest: .*src/multihead/large.py"
    with pytest.raises(BundlerError, match=message):  # the client sends six bytes for each
        built(tmp_path / "three", large=f"x = '{chr(0x995) * 9000}'\n")


def test_settings_are_those_of_the_script(tmp_path: Path, run: Run) -> None:
    assert run(writing(built(tmp_path)))["SETTINGS"] == SETTINGS
