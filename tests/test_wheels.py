"""Wheels of any package: what is fetched for which settings, what a build makes of it, and what a kernel does first."""

import hashlib
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from bundler.build.attached_wheels import LOCK_FILE, copy_fetched, read_lock
from bundler.build.kernel import build_kernel
from bundler.build.parts import IMAGE_FILE
from bundler.cli import main
from bundler.errors import BundlerError, RehearsalError
from bundler.kaggle import wheels
from bundler.kaggle.wheels import fetch
from bundler.metadata import NOTEBOOK, PREDICT_FILE, SCRIPT, SUFFIXES, TRAIN_FILE
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.rehearsal import Rehearsed, rehearse
from bundler.repository import Repository
from bundler.study.inputs import find_inputs, find_wheels
from multihead.config import UserError
from multihead.config.settings import WITHOUT_EFFECT
from multihead.config.settings_file import read_settings
from tests.drawn_wheels import draw_compiled_wheel, draw_wheel
from tests.kaggle_standin import Kaggle
from tests.project_copy import DATASET, change, lines, own_source, write_settings

IMAGE = """\
listed = 2026-01-01
python = "3.12"
extra = []

[distributions]
"Numbers.of-Kaggle" = ["2.0+cpu", "numbers_of_kaggle"]
"""
USES_BOTH = "import counted\nimport plain.deep\nprint('both say', plain.deep.ANSWER, counted.ANSWER)"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, all that pip finds."""
    folder = tmp_path / "index"
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    draw_wheel(folder, "plain", "1.0", {"plain/__init__.py": "", "plain/deep.py": "ANSWER = 'forty-two'\n"})
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset_meta"
    folder.mkdir()
    (folder / "dataset-metadata.json").write_text('{"id": "somebody/some-weights"}')
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "kaggle_image.toml"
    file.write_text(IMAGE)
    return file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "dataset-metadata.json")


def test_what_the_image_lacks_is_fetched_with_what_it_needs_and_locked(index: Path, dataset: Path, image: Path) -> None:
    draw_wheel(index, "needy", "3.0", {"needy.py": ""}, needs=["plain", "numbers-of-kaggle>=2"])
    draw_wheel(index, "numbers_of_kaggle", "2.0", {"numbers_of_kaggle.py": ""}, needs=["nothing-has-this"])
    draw_wheel(index, "numbers_of_kaggle", "3.0", {"numbers_of_kaggle.py": ""})
    fetched = fetch([["needy==3.0"], []], dataset, image)
    files = ["needy-3.0-py3-none-any.whl", "plain-1.0-py3-none-any.whl"]
    assert (fetched.files, fetched.removed) == (files, [])
    assert names(dataset) == [*files, LOCK_FILE]
    lock = read_lock(dataset)
    assert lock
    assert lock.image == date(2026, 1, 1)
    sha256 = {name: hashlib.sha256((index / name).read_bytes()).hexdigest() for name in files}
    assert lock.fetched == {("needy==3.0",): sha256}


def test_a_version_that_the_settings_name_takes_the_place_of_the_image_s(
    index: Path, dataset: Path, image: Path
) -> None:
    draw_wheel(index, "numbers_of_kaggle", "1.0", {"numbers_of_kaggle.py": ""}, needs=["plain"])
    draw_wheel(index, "needy", "3.0", {"needy.py": ""}, needs=["numbers-of-kaggle>=2"])
    files = ["numbers_of_kaggle-1.0-py3-none-any.whl", "plain-1.0-py3-none-any.whl"]
    assert fetch([["numbers.of.kaggle==1.0"]], dataset, image).files == files
    with pytest.raises(BundlerError, match=r"needy 3\.0 depends on numbers-of-kaggle>=2"):
        fetch([["numbers.of.kaggle==1.0", "needy"]], dataset, image)


def test_each_kernel_s_list_is_resolved_by_itself(index: Path, dataset: Path, image: Path) -> None:
    draw_wheel(index, "plain", "2.0", {"plain/__init__.py": ""})
    fetch([["plain<2"], ["plain"], ["plain<2"]], dataset, image)
    lock = read_lock(dataset)
    assert lock
    assert {asked: list(files) for asked, files in lock.fetched.items()} == {
        ("plain",): ["plain-2.0-py3-none-any.whl"],
        ("plain<2",): ["plain-1.0-py3-none-any.whl"],
    }


def test_markers_and_tags_are_those_of_kaggle_s_python_whatever_this_one_is(
    index: Path, dataset: Path, image: Path
) -> None:
    image.write_text(IMAGE.replace("3.12", "3.9"))
    draw_wheel(index, "older", "1.0", {"older.py": ""})
    needs = ["older; python_version < '3.10'", "no-such-package; python_version >= '3.10' or sys_platform != 'linux'"]
    draw_wheel(index, "tagged", "1.0", {"tagged.py": ""}, needs=needs)
    draw_wheel(index, "tagged", "2.0", {"tagged.py": ""}, "cp312-cp312-manylinux_2_28_x86_64")
    draw_wheel(index, "compiled", "1.0", {"compiled.py": ""}, "cp39-cp39-manylinux_2_17_x86_64")
    files = fetch([["tagged", "compiled"]], dataset, image).files
    of_39 = "compiled-1.0-cp39-cp39-manylinux_2_17_x86_64.whl"
    assert files == [of_39, "older-1.0-py3-none-any.whl", "tagged-1.0-py3-none-any.whl"]


@pytest.mark.parametrize("tag", ["manylinux_2_28", "manylinux2014", "manylinux2010", "manylinux1", "linux"])
def test_every_form_of_a_linux_wheel_that_kaggle_s_pip_takes_is_fetched(
    index: Path, dataset: Path, image: Path, tag: str
) -> None:
    draw_wheel(index, "compiled", "1.0", {"compiled.py": ""})
    draw_wheel(index, "compiled", "2.0", {"compiled.py": ""}, f"cp312-cp312-{tag}_x86_64")
    assert fetch([["compiled"]], dataset, image).files == [f"compiled-2.0-cp312-cp312-{tag}_x86_64.whl"]


def test_every_requirement_of_a_package_that_replaces_the_image_s_counts(
    index: Path, dataset: Path, image: Path
) -> None:
    draw_wheel(index, "numbers_of_kaggle", "1.0", {"numbers_of_kaggle.py": ""})
    with pytest.raises(BundlerError, match="numbers-of-kaggle"):
        fetch([["numbers-of-kaggle<2", "numbers-of-kaggle>=2"]], dataset, image)


def test_what_the_image_has_in_a_version_that_is_not_known_is_not_replaced_in_silence(
    index: Path, dataset: Path, image: Path
) -> None:
    image.write_text(IMAGE + 'cards = ["unknown", "cards"]\n')
    draw_wheel(index, "cards", "1.0", {"cards.py": ""})
    draw_wheel(index, "needy", "1.0", {"needy.py": ""}, needs=["cards"])
    with pytest.raises(
        BundlerError, match=r"^wheels: cards is needed, and Kaggle's image has it in a version that its"
    ):
        fetch([["needy"]], dataset, image)
    assert fetch([["needy", "cards==1.0"]], dataset, image).files == [
        "cards-1.0-py3-none-any.whl",
        "needy-1.0-py3-none-any.whl",
    ]


def test_a_lock_reads_back_whatever_a_requirement_says(index: Path, dataset: Path, image: Path) -> None:
    asked = ("plain; platform_machine != '\N{GRINNING FACE}'",)
    fetch([asked], dataset, image)
    lock = read_lock(dataset)
    assert lock
    assert list(lock.fetched) == [asked]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("extra", "wheels: extra more of numbers-of-kaggle 2.0+cpu is needed, and a listing does not say whether"),
        ("numbers_of_kaggle>2", "wheels: numbers_of_kaggle>2: no wheel for Kaggle's Python 3.12 on Linux"),
        ("numbers-of-kaggle[more]", "has Numbers.of-Kaggle 2.0+cpu, but maybe not its extra; name what that needs"),
        ("odd", "wheels: odd 1.0 depends on numbers-of-kaggle<2; Kaggle's image has numbers-of-kaggle 2.0+cpu"),
        ("plain==7", "wheels: plain==7: no wheel for Kaggle's Python 3.12 on Linux; others: 1.0"),
        ("windows", "wheels: windows: no wheel for Kaggle's Python 3.12 on Linux, or no such package"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_leaves_the_dataset_as_it_was(
    index: Path, dataset: Path, image: Path, asked: str, message: str
) -> None:
    draw_wheel(index, "odd", "1.0", {"odd.py": ""}, needs=["numbers-of-kaggle<2"])
    draw_wheel(index, "extra", "1.0", {"extra.py": ""}, needs=["numbers-of-kaggle[more]"])
    draw_wheel(index, "windows", "1.0", {"windows.py": ""}, "cp312-cp312-win_amd64")
    with pytest.raises(BundlerError) as error:
        fetch([["plain"], [asked]], dataset, image)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert names(dataset) == []


def test_what_the_image_has_is_said_and_not_stored(
    index: Path, dataset: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["numbers-of-kaggle==2.0", "Numbers_Of_Kaggle==2.0+cpu"]
    assert wheels.in_image(asked, image) == (dict.fromkeys(asked, "Numbers.of-Kaggle 2.0+cpu"), {})
    assert fetch([asked], dataset, image).files == []
    lock = read_lock(dataset)
    assert lock
    assert lock.files == {}


def test_a_fetch_removes_what_an_earlier_one_brought_and_nothing_else(index: Path, dataset: Path, image: Path) -> None:
    draw_wheel(index, "other", "1.0", {"other.py": ""})
    draw_wheel(dataset, "mine", "1.0", {"mine.py": ""})
    fetch([["plain", "other"]], dataset, image)
    assert fetch([["other"]], dataset, image).removed == ["plain-1.0-py3-none-any.whl"]
    assert names(dataset) == ["mine-1.0-py3-none-any.whl", "other-1.0-py3-none-any.whl", LOCK_FILE]
    assert fetch([], dataset, image).removed == ["other-1.0-py3-none-any.whl"]
    assert names(dataset) == ["mine-1.0-py3-none-any.whl"]


def test_a_file_of_somebody_s_own_is_not_overwritten(index: Path, dataset: Path, image: Path) -> None:
    own = draw_wheel(dataset, "plain", "1.0", {"plain.py": "mine = True"})
    before = own.read_bytes()
    with pytest.raises(BundlerError, match=r"plain-1\.0-py3-none-any\.whl: is there, and not the wheel that pip found"):
        fetch([["plain"]], dataset, image)
    assert (names(dataset), own.read_bytes()) == ([own.name], before)


def package_of(folder: Path, body: str, asked: str = '["plain"]') -> Path:
    """Make a package whose main has this body, and settings beside it; return its folder."""
    package = folder / "multihead"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    (package / "cli.py").write_text(f"def main(argv):\n{indented}    return 0\n")
    (folder / "settings.toml").write_text(f"[run]\nwheels = {asked}\n")
    return package


def built(folder: Path, dataset: Path, body: str, asked: str = '["plain"]', form: str = SCRIPT) -> Path:
    package = package_of(folder, body, asked)
    kernel = folder / f"some_kernel{SUFFIXES[form]}"
    kernel.write_bytes(build_kernel(form, package, folder / "settings.toml", "train", dataset))
    return kernel


def test_a_script_carries_names_and_checksums_and_is_the_same_on_any_day(
    index: Path, dataset: Path, tmp_path: Path
) -> None:
    fetch([["plain"]], dataset, IMAGE_FILE)
    first = built(tmp_path, dataset, "from plain import deep").read_bytes()
    sha256 = hashlib.sha256((dataset / "plain-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert f"    'plain-1.0-py3-none-any.whl': '{sha256}',\n" in first.decode()
    assert built(tmp_path, dataset, "from plain import deep").read_bytes() == first
    assert b"install_attached" not in built(tmp_path, dataset, "pass", "[]").read_bytes()


def test_a_build_knows_what_the_wheels_have_to_import(index: Path, dataset: Path, tmp_path: Path) -> None:
    files = {"spread-1.0.data/purelib/spread.py": "ANSWER = 1\n", "spread-1.0.data/scripts/tool.py": ""}
    draw_wheel(index, "spread", "1.0", files)
    fetch([["plain", "spread"]], dataset, IMAGE_FILE)
    asked = '["spread", "plain"]'  # in another order
    built(tmp_path, dataset, "import plain.deep\nfrom spread import ANSWER", asked)
    for body, message in {
        "import plain.shallow": "plain.shallow is not in",
        "from plain.deep import QUESTION": "plain.deep has no QUESTION",
        "import tool": "tool is not in Kaggle's image",
    }.items():
        with pytest.raises(BundlerError, match=rf"multihead/cli\.py, line 2: {re.escape(message)}"):
            built(tmp_path, dataset, body, asked)


def test_a_build_takes_only_what_was_fetched_for_its_settings_and_for_this_image(
    index: Path, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundlerError, match=r'^wheels = \["plain"\]: not fetched into dataset_meta/; .* fetch-wheels$'):
        built(tmp_path, dataset, "pass")
    fetch([["plain"]], dataset, IMAGE_FILE)
    with pytest.raises(BundlerError, match=r'^wheels = \["plain==1\.0"\]: not fetched'):
        built(tmp_path, dataset, "pass", '["plain==1.0"]')
    wheel, lock = dataset / "plain-1.0-py3-none-any.whl", dataset / LOCK_FILE
    content, text = wheel.read_bytes(), lock.read_text()
    wheel.write_bytes(content[:-1])
    with pytest.raises(BundlerError, match=r"plain-1\.0-py3-none-any\.whl: not the file that wheels\.toml lists"):
        built(tmp_path, dataset, "pass")
    wheel.unlink()
    with pytest.raises(BundlerError, match=r"plain-1\.0-py3-none-any\.whl: not there, but in wheels\.toml"):
        built(tmp_path, dataset, "pass")
    wheel.write_bytes(content)
    lock.write_text(re.sub("(?m)^image = .*$", "image = 2020-01-01", text))
    with pytest.raises(
        BundlerError, match=r"fetched for Kaggle's image as listed on 2020-01-01; kaggle_image\.toml is"
    ):
        built(tmp_path, dataset, "pass")


@pytest.mark.parametrize("text", ["image = 1", "image = 2026-01-01\nfetched = [{ wheels = [1], files = 2 }]", "= ="])
def test_a_damaged_lock_is_one_line(dataset: Path, text: str) -> None:
    (dataset / LOCK_FILE).write_text(text)
    with pytest.raises(BundlerError, match=r"wheels\.toml: [^\n]*remove it, and "):
        read_lock(dataset)


def run(
    folder: Path, dataset: Path, body: str, mounts: str = "new", asked: str = '["plain"]', form: str = SCRIPT
) -> Rehearsed:
    """Rehearse a kernel that attaches a dataset."""
    data = folder / "data"
    data.mkdir()
    inputs = Inputs("some-competition", data, {"somebody/some-weights": dataset})
    return rehearse(built(folder, dataset, body, asked, form), inputs, folder / "root", mounts)


@pytest.mark.parametrize(("form", "mounts"), [(SCRIPT, "new"), (SCRIPT, "old"), (NOTEBOOK, "new")])
def test_a_kernel_imports_pure_and_compiled_packages_that_this_machine_lacks(
    index: Path, dataset: Path, tmp_path: Path, form: str, mounts: str
) -> None:
    draw_compiled_wheel(index, tmp_path)
    fetch([["plain", "counted==1.0"]], dataset, IMAGE_FILE)
    in_child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {USES_BOTH!r}], check=True)"
    ran = run(tmp_path, dataset, f"{USES_BOTH}\n{in_child}", mounts, '["plain", "counted==1.0"]', form)
    assert (tmp_path / "root" / "log.txt").read_text().count("both say forty-two 42") == 2
    assert list(ran.working.iterdir()) == []


def test_wheels_come_before_what_the_image_has_in_the_kernel_and_in_what_it_starts(
    index: Path, dataset: Path, tmp_path: Path
) -> None:
    draw_wheel(index, "termcolor", "0.1", {"termcolor.py": "ANSWER = 'of the wheel'\n"})
    fetch([["termcolor==0.1"]], dataset, IMAGE_FILE)
    says = "import os, termcolor\nprint(termcolor.ANSWER, float(os.environ['MULTIHEAD_STARTED']) > 0)"
    in_child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {says!r}], check=True)"
    run(tmp_path, dataset, f"{says}\n{in_child}", asked='["termcolor==0.1"]')
    assert (tmp_path / "root" / "log.txt").read_text().count("of the wheel True") == 2


def test_a_wheel_may_add_to_a_namespace_that_the_image_has(index: Path, dataset: Path, tmp_path: Path) -> None:
    draw_wheel(index, "more_of_google", "1.0", {"google/more.py": ""})
    fetch([["more-of-google"]], dataset, IMAGE_FILE)
    built(tmp_path, dataset, "import google.more\nimport google.protobuf.message", '["more-of-google"]')


def started(script: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script in a folder, with input/ beside the script in the place of Kaggle's."""
    environment = {"KAGGLE_ROOT": str(script.parent)}
    command = [sys.executable, str(script)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_a_kernel_without_its_wheels_ends_at_once_and_names_the_dataset(
    index: Path, dataset: Path, tmp_path: Path
) -> None:
    fetch([["plain"]], dataset, IMAGE_FILE)
    script, wheel = built(tmp_path, dataset, "print('begun')"), "plain-1.0-py3-none-any.whl"
    damaged = tmp_path / "input" / "other" / wheel
    damaged.parent.mkdir(parents=True)
    done = started(script, tmp_path / "input")
    line = f"error: {wheel}: in no input; attach the dataset somebody/some-weights, and push weights before\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    damaged.write_bytes(b"of another build")
    done = started(script, tmp_path / "input")
    line = f"error: {damaged}: not the wheel of this build; push weights, to the dataset somebody/some-weights\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_a_damaged_copy_of_a_wheel_is_passed_over_and_a_training_at_home_has_its_own(
    index: Path, dataset: Path, tmp_path: Path
) -> None:
    fetch([["plain"]], dataset, IMAGE_FILE)
    script, wheel = (
        built(tmp_path, dataset, "import plain.deep\nprint(plain.deep.ANSWER)"),
        "plain-1.0-py3-none-any.whl",
    )
    (tmp_path / "input" / "other").mkdir(parents=True)
    (tmp_path / "input" / "other" / wheel).write_bytes(b"of another build")
    trial = tmp_path / "trial"
    trial.mkdir()
    (trial / wheel).symlink_to(dataset / wheel)
    done = started(script, trial)
    assert (done.returncode, done.stdout, done.stderr) == (0, "forty-two\n", "")


def test_a_wheel_for_another_python_than_this_is_fetched_and_its_rehearsal_says_so(
    index: Path, dataset: Path, tmp_path: Path
) -> None:
    name = "later-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"
    draw_wheel(index, "later", "1.0", {"later.py": ""}, "cp312-cp312-manylinux_2_28_x86_64")
    assert fetch([["later"]], dataset, IMAGE_FILE).files == [name]
    if sys.version_info[:2] == (3, 12):
        run(tmp_path, dataset, "import later", asked='["later"]')
        return
    with pytest.raises(RehearsalError, match=rf"in Python 3\.\d+\.\S+: ERROR: {name} is not a supported wheel on this"):
        run(tmp_path, dataset, "import later", asked='["later"]')


@pytest.mark.usefixtures("quick")
def test_a_kernel_that_does_not_attach_the_dataset_of_its_wheels_is_named(index: Path, owned: Path) -> None:
    house, own = owned, DATASET.replace("OWNER", "some-body")
    fetch([["plain"]], house / "dataset_meta", IMAGE_FILE)
    write_settings(house, "train", 'wheels = ["plain"]')
    rule = f'put in "{own}", which holds the wheels of kernel/train/settings.toml'
    assert lines(house, "push train") == [f"{TRAIN_FILE}: dataset_sources = []: {rule}"]
    assert [line for line in lines(house, "push predict") if "wheels of" in line] == []
    assert lines(house, "push weights") == []  # before which no kernel can attach it
    change(house, TRAIN_FILE, dataset_sources=[own.lower()])
    assert lines(house, "push train") == []


@pytest.mark.usefixtures("quick")
def test_predicting_with_a_dataset_of_wheels_alone_is_noted(index: Path, owned: Path) -> None:
    house = owned
    for path in (house / "dataset_meta").glob("*.h5"):
        path.unlink()
    fetch([["plain"]], house / "dataset_meta", IMAGE_FILE)
    note = "dataset_meta: files = plain-1.0-py3-none-any.whl, wheels.toml: no weights among them; predicting finds none"
    assert lines(house, "push predict") == [note]
    (house / "dataset_meta" / "more.txt").touch()
    assert lines(house, "push predict") == []


def test_a_package_is_started_with_the_wheels_of_each_kernel_and_not_with_all(index: Path, owned: Path) -> None:
    draw_wheel(index, "plain", "2.0", {"plain/__init__.py": "1 / 0\n"})
    own_source(owned)
    cli = owned / "src" / "multihead" / "cli.py"
    cli.write_text(f"{cli.read_text()}\nimport plain\n")
    write_settings(owned, "train", 'wheels = ["plain<2"]')
    write_settings(owned, "predict", 'wheels = ["plain"]')
    fetch([["plain<2"], ["plain"]], owned / "dataset_meta", IMAGE_FILE)
    assert lines(owned) == ["src/multihead: ZeroDivisionError: division by zero"]


def test_the_check_says_what_to_fetch_and_wheels_count_as_the_dataset_s_files(index: Path, house: Path) -> None:
    write_settings(house, "predict", 'wheels = ["plain"]')
    (found,) = lines(house)
    rule = 'wheels = ["plain"]: not fetched into dataset_meta/; build_kernel.py fetch-wheels'
    assert found == f"kernel/predict/predict_kernel.py: {rule}"
    fetch([["plain"]], house / "dataset_meta", IMAGE_FILE)
    assert lines(house) == []
    for number in range(49):
        (house / "dataset_meta" / f"{number}.txt").touch()
    assert lines(house) == ["dataset_meta: files = 51: Kaggle takes at most 50"]


def test_a_package_that_imports_a_wheel_is_started_with_it(index: Path, house: Path) -> None:
    own_source(house)
    cli = house / "src" / "multihead" / "cli.py"
    cli.write_text(f"{cli.read_text()}\nimport plain.deep\n")
    for kernel, file in (("train", TRAIN_FILE), ("predict", PREDICT_FILE)):
        write_settings(house, kernel, 'wheels = ["plain"]')
        change(house, file, dataset_sources=[DATASET])
    fetch([["plain"]], house / "dataset_meta", IMAGE_FILE)
    assert lines(house) == []


def test_the_command_fetches_for_both_kernels_and_says_what_comes_next(
    index: Path, owned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_wheel(index, "other", "1.0", {"other.py": ""})
    recipe = owned / "recipe.toml"
    recipe.write_text('[run]\nwheels = ["other"]\n')
    assert main(["fetch-wheels", str(recipe)], Repository(owned)) == 0
    assert (owned / "dataset_meta" / "other-1.0-py3-none-any.whl").is_file()
    (owned / "dataset_meta" / "other-1.0-py3-none-any.whl").unlink()
    capsys.readouterr()
    write_settings(owned, "train", 'wheels = ["plain", "numpy>=2"]')
    assert main(["fetch-wheels"], Repository(owned)) == 0
    size = (owned / "dataset_meta" / "plain-1.0-py3-none-any.whl").stat().st_size
    version = wheels.in_image(["numpy"], IMAGE_FILE).met["numpy"]
    assert capsys.readouterr().out.splitlines() == [
        f"train: numpy>=2: Kaggle's image has {version}",
        f"dataset_meta/plain-1.0-py3-none-any.whl: {size:,} bytes",
        f'  {TRAIN_FILE}: "dataset_sources": ["some-body/multihead-weights"], once that dataset is pushed',
        "next: build_kernel.py push weights",
    ]
    write_settings(owned, "train", "")
    assert main(["fetch-wheels"], Repository(owned)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "dataset_meta/plain-1.0-py3-none-any.whl: removed, nothing asks for it",
        "no wheels in the settings of a kernel",
    ]


@pytest.mark.usefixtures("quick")
def test_a_dataset_of_wheels_alone_can_be_pushed(index: Path, owned: Path, kaggle: Kaggle) -> None:
    write_settings(owned, "predict", 'wheels = ["plain"]')
    fetch([["plain"]], owned / "dataset_meta", IMAGE_FILE)
    assert main(["push", "weights"], Repository(owned)) == 0
    ((_, versions),) = kaggle.datasets.items()
    assert sorted(versions[-1]) == ["plain-1.0-py3-none-any.whl", LOCK_FILE]


def test_a_dry_run_s_dataset_has_the_wheels_and_no_older_ones(
    index: Path, dataset: Path, image: Path, tmp_path: Path
) -> None:
    fetch([["plain"]], dataset, image)
    other = tmp_path / "other"
    draw_wheel(other, "older", "1.0", {"older.py": ""})
    copy_fetched(dataset, other)
    assert names(other) == ["plain-1.0-py3-none-any.whl", LOCK_FILE]
    fetch([], dataset, image)
    copy_fetched(dataset, other)
    assert names(other) == []


def test_a_study_s_recipe_links_its_wheels(index: Path, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[run]\nwheels = ["plain"]\n')
    fetch([["plain"]], dataset, IMAGE_FILE)
    for settings, expected in ((tmp_path / "settings.toml", [dataset / "plain-1.0-py3-none-any.whl"]), (None, [])):
        assert find_wheels(Repository(tmp_path), read_settings(settings)) == expected


def test_a_trial_with_another_wheel_is_another_trial(index: Path, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[run]\nwheels = ["plain"]\n')
    settings, found = read_settings(tmp_path / "settings.toml"), []
    for version in ("1.0", "2.0"):
        draw_wheel(index, "plain", version, {"plain/__init__.py": f"VERSION = {version}\n"})
        fetch([["plain"]], dataset, IMAGE_FILE)
        found.append(find_inputs(Repository(tmp_path), settings).sha256)
    assert found[0].keys() == found[1].keys() == {"wheels"}
    assert found[0] != found[1]
    assert find_inputs(Repository(tmp_path), read_settings(None)).sha256 == {}


def test_wheels_are_those_of_the_whole_kernel_and_no_part_of_what_a_training_is(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('[run]\ntrials = [{ wheels = ["plain"] }]\n')
    with pytest.raises(UserError, match="wheels is of the run, and cannot differ from trial to trial"):
        read_settings(settings)
    assert "wheels" in WITHOUT_EFFECT


def test_wheels_are_requirements_by_name(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    for value, message in {
        '"plain"': "wheels = 'plain'; expected a list of texts",
        '["not a requirement"]': "wheels = 'not a requirement'; expected a requirement such as \"name==1.0\"",
        '["plain @ https://example.org/plain.whl"]': "expected a requirement by name and version, without an address",
    }.items():
        settings.write_text(f"[run]\nwheels = {value}\n")
        with pytest.raises(UserError, match=re.escape(message)):
            read_settings(settings)
