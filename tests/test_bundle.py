import ast
import hashlib
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.build import parts
from bundler.build.imports import read_kaggle
from bundler.build.library import LIBRARY_FILE, read_library
from bundler.build.package_files import left_out, read_package
from bundler.build.parts import WHEELS_FOLDER, literal
from bundler.build.script import build_script
from bundler.errors import BundlerError
from multihead.config import UserError
from multihead.config.known_tasks import task_text
from tests.conftest import HOUSE, PYTHONPATH
from tests.test_tasks import LEAVES
from tests.test_text_files import FORMS

SETTINGS = "[run]\nepochs = 3  # \\ and ''' and \"\"\"\n"
APP = '''"""A command line that shows what it was called with."""

from multihead import text


def main(argv):
    settings = open(argv[argv.index("--settings") + 1], encoding="utf-8", newline="").read()
    print(argv[0], argv[3:], settings == text.SETTINGS, text.ODD)
    return 0
'''
TEXT = f'''SETTINGS = {SETTINGS!r}
ODD = """it's "quoted" \\\\ {"'" * 3} \\N{{BENGALI LETTER KA}}"""
'''


def make_package(folder: Path, **modules: str) -> Path:
    """Write a package multihead with a cli.py and further modules, and its settings beside it."""
    package = folder / "src" / "multihead"
    for name, source in {"__init__": "", "cli": APP, "text": TEXT, **modules}.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.encode())
    (folder / "settings.toml").write_bytes(SETTINGS.encode())
    return package


def build(folder: Path, **modules: str) -> Path:
    package = make_package(folder, **modules)
    script = folder / "script.py"
    script.write_bytes(build_script(package, folder / "settings.toml", "train"))
    return script


def run(script: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    away = script.parent / "away"
    away.mkdir()
    (script.parent / "tmp").mkdir(exist_ok=True)
    alone = away / "script.py"
    script.rename(alone)
    shutil.rmtree(script.parent / "src")
    return subprocess.run(
        [sys.executable, alone.name, *arguments], cwd=away, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONUTF8": "1", "TMPDIR": str(script.parent / "tmp")},
    )  # fmt: skip


def test_the_script_alone_runs_the_command_with_settings_and_arguments(tmp_path: Path) -> None:
    done = run(build(tmp_path), "--set", "a=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "train ['--set', 'a=1'] True it's \"quoted\" \\ ''' ক\n"


def task_of(script: bytes) -> str | None:
    """Return the text that a script has as its TASK."""
    names = [node for node in ast.parse(script).body if isinstance(node, ast.Assign)]
    values = {ast.unparse(node.targets[0]): node.value for node in names}
    text: str | None = ast.literal_eval(values["TASK"])
    return text


def test_a_train_script_carries_its_own_task_and_a_predict_script_none(tmp_path: Path) -> None:
    package, settings = make_package(tmp_path), tmp_path / "settings.toml"
    assert task_of(build_script(package, settings, "train")) == task_text("bengali")
    assert task_of(build_script(package, settings, "predict")) is None
    settings.write_text('[model]\ntask = "animals10"\n')
    assert task_of(build_script(package, settings, "train")) == task_text("animals10")
    (tmp_path / "task.toml").write_text(LEAVES)
    assert task_of(build_script(package, settings, "train")) == task_text("animals10")
    assert task_of(build_script(package, settings, "predict")) == LEAVES
    settings.write_text("")
    assert task_of(build_script(package, settings, "train")) == LEAVES
    settings.write_text('[model]\ntask = "oaks"\n')
    with pytest.raises(UserError, match="task: 'oaks' is not known; one of bengali, "):
        build_script(package, settings, "train")


@pytest.mark.parametrize("name", ["train", "predict"])
def test_the_tasks_that_are_built_in_do_not_travel(name: str) -> None:
    script = build_script(HOUSE / "src" / "multihead", HOUSE / "kernel" / name / "settings.toml", name)
    assert b"TEXTS['multihead/config/tasks" not in script
    assert b"sign-mnist.toml" not in script


def test_a_task_beside_the_settings_comes_along(tmp_path: Path) -> None:
    app = (
        "from pathlib import Path\n\n\ndef main(argv):\n"
        "    task = Path(argv[2]).with_name('task.toml')\n"
        "    print(ascii(task.read_bytes().decode()) if task.exists() else 'none')\n    return 0\n"
    )
    for task in (None, LEAVES.replace("\n", "\r\n") + '# """ \u0995\n'):
        folder = tmp_path / ("without" if task is None else "with")
        package = make_package(folder, cli=app)
        if task is not None:
            (folder / "task.toml").write_bytes(task.encode())
        script = folder / "script.py"
        script.write_bytes(build_script(package, folder / "settings.toml", "predict"))
        assert ("TASK = None" in script.read_text()) == (task is None)
        done, text = run(script), str(task).replace("\r\n", "\n")
        assert (done.stderr, done.stdout) == ("", f"{'none' if task is None else ascii(text)}\n")


@pytest.mark.parametrize("form", FORMS)
def test_however_an_editor_saved_settings_and_task_the_script_has_the_same_bytes(tmp_path: Path, form: str) -> None:
    package, settings = make_package(tmp_path), tmp_path / "settings.toml"
    built = []
    for save in (FORMS["plain"], FORMS[form]):
        settings.write_bytes(save(SETTINGS))
        settings.with_name("task.toml").write_bytes(save(LEAVES))
        built.append(build_script(package, settings, "train"))
    assert built[0] == built[1]


def test_settings_of_another_encoding_fail_the_build_with_their_line(tmp_path: Path) -> None:
    package, settings = make_package(tmp_path), tmp_path / "settings.toml"
    settings.write_bytes(b"[run]\n# caf\xe9\n")
    with pytest.raises(BundlerError, match=rf"^{settings}: not UTF-8 \(byte 0xe9 in line 2\)$"):
        build_script(package, settings, "train")


def test_a_module_that_an_editor_saved_with_a_mark_is_built_as_one_without(tmp_path: Path) -> None:
    package, settings = make_package(tmp_path), tmp_path / "settings.toml"
    plain = build_script(package, settings, "train")
    (package / "cli.py").write_text(APP, encoding="utf-8-sig")
    assert build_script(package, settings, "train") == plain


def test_what_a_system_or_an_editor_left_beside_the_modules_is_no_module(tmp_path: Path) -> None:
    package, settings = make_package(tmp_path), tmp_path / "settings.toml"
    plain = build_script(package, settings, "train")
    for name in (".ipynb_checkpoints/text-checkpoint.py", "__MACOSX/text.py", "._cli.py", ".#text.py"):
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_bytes(b"\0\5\x16\7\xff")
    assert build_script(package, settings, "train") == plain


def test_a_hidden_folder_around_the_package_hides_none_of_it(tmp_path: Path) -> None:
    package = make_package(tmp_path / ".work")
    assert set(read_package(package)) == {"multihead/__init__.py", "multihead/cli.py", "multihead/text.py"}


def test_nothing_is_written_beside_the_script(tmp_path: Path) -> None:
    assert run(build(tmp_path)).returncode == 0
    assert [f.name for f in (tmp_path / "away").iterdir()] == ["script.py"]


@given(st.text(alphabet=st.sampled_from("ab'\"\\\n\r\t\0 #{}\u0995\N{SNOWMAN}\x0c\u2028"), max_size=30))
def test_a_literal_is_its_text(text: str) -> None:
    assert eval(literal(text)) == text


def test_modules_stand_whole_and_readable_in_the_script() -> None:
    package = HOUSE / "src" / "multihead"
    script = build_script(package, HOUSE / "kernel" / "train" / "settings.toml", "train").decode()
    for path, source in read_package(package).items():
        assert source.decode() in script, path
        assert hashlib.sha256(source).hexdigest() in script
    assert (HOUSE / "kernel" / "train" / "settings.toml").read_text() in script


def test_what_was_unpacked_is_removed_at_the_end(tmp_path: Path) -> None:
    for name, app in (("good", APP), ("bad", "def main(argv):\n    raise ValueError\n")):
        folder = tmp_path / name
        run(build(folder, cli=app))
        assert list((folder / "tmp").iterdir()) == []


def test_importing_the_script_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a process started by multiprocessing does."""
    names = runpy.run_path(str(build(tmp_path)), run_name="__mp_main__")
    assert set(names["MODULES"]) == {"multihead/__init__.py", "multihead/cli.py", "multihead/text.py"}
    assert capsys.readouterr().out == ""


def test_the_same_sources_give_the_same_bytes_in_another_folder_at_another_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second" / "deeper"
    made = make_package(first, zebra="Z = 1\n", **{"sub/__init__": "", "sub/a": "A = 1\n"})
    copy = make_package(second, **{"sub/a": "A = 1\n", "sub/__init__": ""}, zebra="Z = 1\n")
    for age, path in enumerate(sorted(second.rglob("*"))):
        os.utime(path, (age, age))
    built = [build_script(p, p.parent.parent / "settings.toml", "train") for p in (made, copy)]
    assert built[0] == built[1]


def test_a_traceback_shows_the_module_and_its_line(tmp_path: Path) -> None:
    broken = "\n\ndef fail():\n    raise RuntimeError('on line 4')\n"
    app = "from multihead.broken import fail\n\n\ndef main(argv):\n    fail()\n"
    done = run(build(tmp_path, cli=app, broken=broken))
    assert done.returncode == 1
    assert "src/multihead/broken.py\", line 4, in fail\n    raise RuntimeError('on line 4')" in done.stderr
    assert 'src/multihead/cli.py", line 5, in main\n    fail()' in done.stderr


def test_a_user_s_mistake_is_a_failure_to_kaggle(tmp_path: Path) -> None:
    assert run(build(tmp_path, cli="def main(argv):\n    return 2\n")).returncode == 1


@pytest.mark.parametrize(
    "statement",
    [
        "import onnxruntime",
        "import onnxruntime.capi as capi",
        "from onnxruntime import InferenceSession",
        "from onnxruntime import (\n    InferenceSession as S,\n)",
        "def f():\n    import onnxruntime",
        "try:\n    import onnxruntime\nexcept ImportError:\n    pass",
    ],
)
def test_an_import_that_kaggle_lacks_fails_the_build_with_file_and_line(tmp_path: Path, statement: str) -> None:
    with pytest.raises(BundlerError, match=r"multihead/extra\.py, line [23]: onnxruntime\S* is not in Kaggle's image"):
        build(tmp_path, extra="import os\n" + statement + "\n")


@pytest.mark.parametrize(
    "statement", ["from . import nowhere", "from multihead import nowhere", "from .text import ODDER"]
)
def test_a_name_that_a_module_lacks_fails_the_build(tmp_path: Path, statement: str) -> None:
    with pytest.raises(BundlerError, match=r"multihead/extra\.py, line 1: multihead\S* has no (nowhere|ODDER)"):
        build(tmp_path, extra=statement + "\n")


def test_a_module_that_kaggle_s_python_dropped_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(BundlerError, match="distutils is not in Kaggle's image"):
        build(tmp_path, extra="import distutils\n")


def test_the_arguments_of_a_notebook_editor_are_left_alone(tmp_path: Path) -> None:
    assert run(build(tmp_path), "-f", "kernel.json").stdout.startswith("train [] True")


def test_a_module_that_the_package_lacks_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(BundlerError, match=r"multihead/extra\.py, line 1: multihead.nowhere is not in the package"):
        build(tmp_path, extra="from .nowhere import x\n")


def test_every_form_of_import_works_in_the_bundle_as_outside_it(tmp_path: Path) -> None:
    app = (
        "from __future__ import annotations\n"
        "import inspect\n"
        "import multihead.sub.a as renamed\n"
        "from . import text as t\n"
        "from .sub import (\n    a,\n    b as bb,\n)\n\n\n"
        "def main(argv) -> undefined_name:\n"
        "    print(renamed.NAME, a.NAME, bb.NAME, inspect.getsource(bb).splitlines()[0], t.ODD[:4])\n"
        "    return 0\n"
    )
    sub = {"sub/__init__": "", "sub/a": "from .. import text\nNAME = 'a'\n", "sub/b": "from .a import NAME\n"}
    done = run(build(tmp_path, cli=app, **sub))
    assert (done.stderr, done.stdout) == ("", "a a a from .a import NAME it's\n")


NAMES = ("alpha", "beta", "sub/__init__", "sub/gamma", "sub/delta")
texts = st.text(alphabet=st.sampled_from("ab'\"\\\n\t#{}%\u0995\N{SNOWMAN}\u2028"), max_size=12)
forms = st.sampled_from(["absolute", "aliased", "from", "from_aliased", "parenthesised", "relative", "late"])


def import_of(form: str, importer: str, imported: str) -> tuple[str, str]:
    """A statement that imports one module into another, and an expression for its TEXT."""
    module = "multihead." + imported.replace("/__init__", "").replace("/", ".")
    parent, _, leaf = module.rpartition(".")
    dots = ".." if importer.startswith("sub") else "."
    return {
        "absolute": (f"import {module}", f"{module}.TEXT"),
        "aliased": (f"import {module} as m", "m.TEXT"),
        "from": (f"from {module} import TEXT as T", "T"),
        "from_aliased": (f"from {parent} import {leaf} as n", "n.TEXT"),
        "parenthesised": (f"from {module} import (\n    TEXT as P,  # comment\n)", "P"),
        "relative": (f"from {dots}{module.removeprefix('multihead.')} import TEXT as R", "R"),
        "late": ("", f"__import__('importlib').import_module('{module}').TEXT"),
    }[form]


@st.composite
def packages(draw: st.DrawFn) -> dict[str, str]:
    """Modules that import one another in any form, their texts full of quotes; one pair imports in a circle."""
    modules = {}
    for position, name in enumerate(NAMES):
        future = draw(st.sampled_from(["", "from __future__ import annotations\n"]))
        statements, values = [], []
        for earlier in [n for n in NAMES[:position] if not (name.startswith("sub/g") and n == "sub/__init__")]:
            if draw(st.booleans()):
                statement, value = import_of(draw(forms), name, earlier)
                statements.append(statement)
                values.append(value)
        body = "\n".join(statements)
        shown = ", ".join(values)
        modules[name] = f"{future}{body}\nTEXT = {draw(texts)!r}\n\n\ndef show():\n    return [TEXT, {shown}]\n"
    modules["alpha"] += "\n\ndef circle():\n    from .sub.delta import show\n\n    return show()\n"
    raw = draw(texts.filter(lambda t: "\n" not in t and not t.endswith("\\") and "'" not in t))
    modules["beta"] += f"\nRAW = r'''{raw}'''\n"
    return modules


PACKAGE_APP = """
from . import alpha, beta
from .sub import delta, gamma
import multihead.sub


def main(argv):
    shown = [m.show() for m in (alpha, beta, gamma, delta, multihead.sub)]
    print(ascii([shown, alpha.circle(), beta.RAW, argv[0]]))
    return 0
"""


@given(packages())
@settings(max_examples=25)
def test_a_package_behaves_bundled_as_unbundled(
    tmp_path_factory: pytest.TempPathFactory, modules: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("package")
    script = build(folder, cli=PACKAGE_APP, **modules)
    code = "import sys; sys.path.insert(0, 'src'); from multihead.cli import main; main(['train'])"
    plain = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert plain.stderr == ""
    bundled = run(script)
    assert (bundled.stderr, bundled.stdout) == ("", plain.stdout)


def test_a_syntax_error_fails_the_build_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BundlerError, match=r"multihead/extra\.py, line 2: "):
        build(tmp_path, extra="x = 1\ndef f(:\n")


def test_a_script_too_large_for_kaggle_fails_with_what_is_large(tmp_path: Path) -> None:
    with pytest.raises(BundlerError, match=r"the script has 1,\d+,\d+ bytes.*largest: multihead/big\.py 900,0"):
        build(tmp_path, big=f"X = '{'x' * 900_000}'\n", other=f"X = '{'x' * 90_000}'\n")


def test_a_wheel_that_is_not_the_one_listed_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    shutil.copytree(WHEELS_FOLDER, wheels)
    monkeypatch.setattr(parts, "WHEELS_FOLDER", wheels)
    (wheels / "efficientnet-1.1.1-py3-none-any.whl").write_bytes(b"other")
    with pytest.raises(BundlerError, match=r"efficientnet-1\.1\.1.*SHA-256 is"):
        build_script(make_package(tmp_path), tmp_path / "settings.toml", "train", wheels)
    (wheels / "efficientnet-1.1.1-py3-none-any.whl").unlink()
    with pytest.raises(BundlerError, match=r"efficientnet-1\.1\.1.*listed in SHA256SUMS, but No such file"):
        build_script(make_package(tmp_path), tmp_path / "settings.toml", "train", wheels)


def test_without_its_wheel_the_build_names_efficientnet(tmp_path: Path) -> None:
    none = tmp_path / "wheels"
    none.mkdir()
    (none / "SHA256SUMS").touch()
    settings = HOUSE / "kernel" / "train" / "settings.toml"
    message = r"multihead/model/backbones\.py, line \d+: efficientnet is not in Kaggle's image"
    with pytest.raises(BundlerError, match=message):
        build_script(HOUSE / "src" / "multihead", settings, "train", none)


def test_the_wheels_are_pure_python_with_their_licences() -> None:
    header = (
        build_script(HOUSE / "src" / "multihead", HOUSE / "kernel/train/settings.toml", "train")
        .decode()
        .partition("SETTINGS =")[0]
    )
    assert "efficientnet-1.1.1-py3-none-any.whl: Copyright 2019 The TensorFlow Authors, Pavel Yakubovskiy" in header
    assert "Keras_Applications-1.0.8-py3-none-any.whl: Copyright (c) 2016 - 2018" in header
    assert header.count("Apache License") == header.count("MIT License") == 1


LITTER = (
    ".#cli.py", "._cli.py", ".hidden/data.txt", "#cli.py#", "cli.py~", "cli.py.orig", "cli.py.rej", "text.py.bak",
    "x.swp", "Thumbs.db", "__pycache__/cli.cpython-312.pyc", "old.pyc",
)  # fmt: skip


def test_what_does_not_travel_is_named_but_for_caches(tmp_path: Path) -> None:
    package, settings = make_package(tmp_path), tmp_path / "settings.toml"
    plain = build_script(package, settings, "train")
    assert left_out(package) == []
    for name in LITTER:
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_bytes(b"\0 def (\xff")
    (package / "gone.py").symlink_to("nowhere.py")
    assert build_script(package, settings, "train") == plain
    assert left_out(package) == sorted(
        f"multihead/{name}" for name in [*(n for n in LITTER if "/" not in n and n != "old.pyc"), ".hidden/", "gone.py"]
    )


def test_links_in_the_package_are_followed_and_a_circle_of_them_ends(tmp_path: Path) -> None:
    package, elsewhere = make_package(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "leaf.py").write_text("N = 1\n")
    (package / "linked").symlink_to(elsewhere)
    (package / "leaf.py").symlink_to(elsewhere / "leaf.py")
    (elsewhere / "back").symlink_to(package)
    (package / "self").symlink_to(package)
    (package / "user.py").write_text("from .linked.leaf import N\nfrom .leaf import N as M\n")
    script = build_script(package, tmp_path / "settings.toml", "train").decode()
    assert [line for line in script.splitlines() if line.startswith("MODULES['multihead/l")] == [
        "MODULES['multihead/leaf.py'] = r'''N = 1",
        "MODULES['multihead/linked/leaf.py'] = r'''N = 1",
    ]


def test_data_stands_readable_in_the_script(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    (package / "names.csv").write_text("0,ka\n1,kha\n")
    (package / "font.ttf").write_bytes(b"\0\1\xff")
    script = build_script(package, tmp_path / "settings.toml", "train").decode()
    assert "\nTEXTS['multihead/names.csv'] = r'''0,ka\n1,kha\n'''\n" in script
    assert '\nBYTES[\'multihead/font.ttf\'] = """\nAAH/\n"""\n' in script
    for name in ("names.csv", "font.ttf"):
        assert f"#   {hashlib.sha256((package / name).read_bytes()).hexdigest()}  multihead/{name}\n" in script


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf_8_fails_the_build(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    Path(os.fsdecode(os.fsencode(package) + b"/\xff.txt")).touch()
    with pytest.raises(BundlerError, match=r"multihead/\\udcff\.txt': its name is not UTF-8$"):
        build_script(package, tmp_path / "settings.toml", "train")


def test_a_machine_without_utf_8_builds_the_same_bytes(tmp_path: Path) -> None:
    package, settings = make_package(tmp_path, **{"\u0995": "A = 1\n"}), tmp_path / "settings.toml"
    code = (
        "import sys; from pathlib import Path; from bundler.build.script import build_script\n"
        "sys.stdout.buffer.write(build_script(Path('src/multihead'), Path('settings.toml'), 'train'))"
    )
    without = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": PYTHONPATH}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | without, capture_output=True, check=False
    )
    assert (done.stderr, done.stdout) == (b"", build_script(package, settings, "train"))


def test_a_checkout_with_line_ends_of_windows_builds_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for part in ("src/multihead", "bundler/build/wheels", "kernel/train"):
        shutil.copytree(HOUSE / part, first / part, ignore=shutil.ignore_patterns("__pycache__", "*_kernel.*"))
    shutil.copy(HOUSE / ".gitattributes", first)
    author = ("-c", "user.name=a", "-c", "user.email=a", "-c", "core.autocrlf=false")
    for command in (
        ("init", "-q", str(first)),
        ("-C", str(first), "add", "."),
        ("-C", str(first), *author, "commit", "-qm", "all"),
        ("clone", "-q", "-c", "core.autocrlf=true", str(first), str(second)),
    ):
        subprocess.run(["git", *command], check=True)
    built = [
        build_script(
            folder / "src/multihead", folder / "kernel/train/settings.toml", "train", folder / "bundler/build/wheels"
        )
        for folder in (first, second)
    ]
    assert built[0] == built[1]
    assert b"\r" not in (second / "src/multihead/cli.py").read_bytes()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("settings.toml", 950_000), ("task.toml", 950_000), ("src/multihead/crlf.py", 700_000),
        ("src/multihead/data.bin", 720_000), ("src/multihead/data.txt", 950_000),
    ],
)  # fmt: skip
def test_the_largest_part_is_named_by_what_it_takes_in_the_script(tmp_path: Path, name: str, size: int) -> None:
    package = make_package(tmp_path)
    line = {".bin": b"\xff\0", ".py": b"# a line\r\n", ".toml": b"# line\n", ".txt": b"a line\n"}[Path(name).suffix]
    (tmp_path / name).write_bytes(line * (size // len(line)))
    with pytest.raises(BundlerError, match=rf"largest: {name.removeprefix('src/')} (9\d\d,\d\d\d|1,\d\d\d,\d\d\d), "):
        build_script(package, tmp_path / "settings.toml", "predict")


def test_a_build_says_nothing_of_its_own(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """An invalid escape is the module's own business: Python warns when it runs."""
    build(tmp_path, extra="A = '\\d'\nif A is 'x':\n    pass\n")
    assert not recwarn.list


def test_the_library_is_that_of_kaggle_s_python() -> None:
    kaggle = read_kaggle(parts.IMAGE_FILE)
    version = ".".join(map(str, kaggle.python))
    assert LIBRARY_FILE.read_text().startswith(f"# Python {version}.")
    tops = {module for module in kaggle.library if "." not in module}
    gone = {"3.11": {"asynchat", "asyncore", "distutils", "imp", "smtpd", "_bootsubprocess", "_sha256", "_sha512"}}
    here = ".".join(map(str, sys.version_info[:2]))
    if here in ("3.11", "3.12"):
        assert tops - sys.stdlib_module_names <= {"_pydatetime", "_pylong", "_sha2"}
        others = {"_msi", "_overlapped", "_scproxy", "_winapi", "msilib", "msvcrt", "nt", "winreg", "winsound"}
        assert sys.stdlib_module_names - tops == others | gone.get(here, set())
    assert {"cgi", "crypt", "imghdr", "telnetlib", "fcntl", "os.path"} <= kaggle.library.keys()


@pytest.mark.skipif(sys.version_info[:2] != (3, 12) or sys.platform != "linux", reason="not Kaggle's Python")
def test_the_library_is_what_this_python_has() -> None:
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    code = "from bundler.build.library import installed_library as i; print('\\n'.join(i()))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) ^ set(read_library()) <= {"_curses", "_tkinter", "readline"}
