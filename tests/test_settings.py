import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead import commands
from multihead.config.backbones import BACKBONES
from multihead.config.checking import MANY
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings, settings_dict, settings_from
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError
from tests.conftest import HOUSE
from tests.test_text_files import FORMS, TEXT


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_names_only_what_differs(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, '[model]\nbackbone = "narrow"\n[run]\nepochs = 3\n'))
    assert settings.model == ModelSettings(backbone="narrow", crop="ink")
    assert settings.run == RunSettings(epochs=3)
    assert settings.given_model_keys == {"backbone"}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_read_as_meant_however_an_editor_saved_it(tmp_path: Path, form: str) -> None:
    (tmp_path / "settings.toml").write_bytes(FORMS[form](TEXT))
    assert read_settings(tmp_path / "settings.toml").run == RunSettings(epochs=3)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[run]\nepochs = 3\n")
    overrides = ["epochs=5", "image_size=[96, 128]", "learning_rate=1", "data=/some/where", "require_gpu=true"]
    settings = read_settings(path, [*overrides, 'ensemble=["b1", "b3"]'])
    assert settings.model.image_size == (96, 128)
    assert settings.run == RunSettings(
        epochs=5, learning_rate=1.0, data="/some/where", ensemble=("b1", "b3"), require_gpu=True
    )


@pytest.mark.parametrize(("value", "precision"), [("true", "float16"), ("false", "float32")])
def test_the_key_that_precision_had_before_is_read(value: str, precision: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f"[run]\nmixed_precision = {value}\n")
    assert read_settings(path).run.precision == precision
    assert read_settings(None, [f"mixed_precision={value}"]).run.precision == precision
    assert read_settings(path, ["precision=bfloat16"]).run.precision == "bfloat16"


def test_a_crop_that_the_task_chooses_contradicts_no_weights() -> None:
    assert read_settings(None, ["crop=task"]).given_model_keys == set()
    assert read_settings(None, ["crop=ink"]).given_model_keys == {"crop"}


def stack(layers: list[object]) -> str:
    return f'[model]\nbackbone = "stack"\nstack_layers = {json.dumps(layers)}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nepoch = 3", "epoch is not known; did you mean epochs?"),
        ('[run]\nepochs = "3"', "epochs = '3'; expected a whole number"),
        ("[run]\nepochs = true", "epochs = True; expected a whole number"),
        ("[run]\nepochs = 0", "epochs = 0; expected at least 1"),
        ("[run]\nlearning_rate = nan", "learning_rate = nan; expected a finite number"),
        ("[run]\nvalidation_share = 0.9", "validation_share = 0.9; expected at most 0.5"),
        ('[run]\noptimizer = "sgd"', "optimizer = 'sgd'; expected one of adamw, rmsprop"),
        ("[run]\nmixup_share = 0.6\ncutmix_share = 0.6", "mixup_share + cutmix_share is over 1"),
        ("[model]\nimage_size = 64", "image_size = 64; expected 2 whole numbers"),
        ("[model]\nimage_size = [64]", "image_size = [64]; expected 2 whole numbers"),
        ("[model]\nimage_size = [64, 4]", "image_size = 4; expected at least 8"),
        ("[model]\nimage_size = [64, 28]", "image_size = [64, 28]: efficientnet-b0 takes at least [32, 32]"),
        ('[model]\nbackbone = "inceptionv3"', "image_size = [64, 64]: inceptionv3 takes at least [75, 75]"),
        ('[model]\nbackbone = "ResNet50"', "backbone = 'ResNet50'; expected one of resnet50, resnet50v2"),
        ('[model]\nbackbone = "?"', f"or {len(BACKBONES) - MANY} more that docs/settings.md lists"),
        ('[model]\nbackbone = "stack"', "stack_layers: none, but backbone = 'stack'"),
        ('[model]\nstack_layers = ["conv 8"]', "stack_layers belong to backbone = 'stack', not to 'efficientnet-b0'"),
        (stack(["conv 8", "max 2"]), "stack_layers: 'max 2' is not known; expected the like of conv 32"),
        (stack(["conv 0"]), "stack_layers: 'conv 0' is not known"),
        (stack(["dropout 1.0"]), "stack_layers: 'dropout 1.0' is not known"),
        (stack([3]), "stack_layers = [3]; expected a list of texts"),
        (stack(["dense 8", "conv 8"]), "stack_layers: 'conv 8' after a dense layer"),
        (stack(["pool 2"] * 7), "image_size = [64, 64]: too small for stack_layers, 'pool 2' leaves nothing"),
        (stack(["pool 9", "pool 4", "conv 8 valid"]), "'conv 8 valid' leaves nothing"),
        ('[model]\ncrop = "square"', "crop = 'square'; expected one of task, ink, padded, none"),
        ("[run]\nfrozen_up_to = 'stem_bn'", "frozen_up_to without pretrained"),
        ("[run]\nensemble = 'b1'", "ensemble = 'b1'; expected a list of texts"),
        ("[run]\naugmentation = 3", "augmentation = 3; expected a list of tables"),
        ("[run.augmentation]\nname = 'flip'", "augmentation = {'name': 'flip'}; expected a list of tables"),
        ("[run]\naugmentation = ['flip']", "augmentation 1 = 'flip'; expected a table with a text as its name"),
        ("[[run.augmentation]]\nshare = 0.5", "augmentation 1 = {'share': 0.5}; expected a table with a text as its"),
        ("[[run.augmentation]]\nname = 3", "augmentation 1 = {'name': 3}; expected a table with a text as its name"),
        ("[[run.augmentation]]\nname = 'flip'\nshare = 2", "augmentation 1 (flip): share = 2.0; expected at most 1"),
        (
            "[[run.augmentation]]\nname = 'affine'\nturn = 2",
            "1 (affine): turn is not known; one of rotation_degrees, z",
        ),
        (
            "[[run.augmentation]]\nname = 'flip'\n[[run.augmentation]]\nname = 'affine'\nzoom = '1'",
            "augmentation 2 (affine): zoom = '1'; expected a number",
        ),
        (
            "[[run.augmentation]]\nname = 'Blur'\np = nan",
            "augmentation 1 (Blur): p = nan; expected finite numbers, text",
        ),
        ("[[run.augmentation]]\nname = 'Blur'\np = 1979-05-27", "(Blur): p = datetime.date(1979, 5, 27); expected"),
        ("[run]\nensemble = [1, 2]", "ensemble = [1, 2]; expected a list of texts"),
        ("[run]\nensemble = ['b1', '../b1']", "ensemble = '../b1'; expected a plain name"),
        ("[run]\nensemble = ['b*']", "ensemble = 'b*'; expected a plain name"),
        ("[run]\nensemble = ['/data/b1']", "ensemble = '/data/b1'; expected a plain name"),
        ("[run]\nensemble = ['data\\b1']", r"ensemble = 'data\\b1'; expected a plain name"),
        ("[run]\nensemble = ['..']", "ensemble = '..'; expected a plain name"),
        ('[run]\nprecision = "half"', "precision = 'half'; expected one of auto, float32, float16, bfloat16"),
        ("[run]\nxla = true", "xla = True; expected one of auto, on, off"),
        ("[run]\nmixed_precision = 1", "mixed_precision = 1; expected true or false"),
        ('[run]\nmixed_precision = true\nprecision = "auto"', "both precision and mixed_precision, which was its name"),
        ("[train]\nepochs = 3", "[train] is not known"),
        ("epochs = 3", "[epochs] is not known"),
        ("run = 3", "run is not a table"),
        ("[[run]]", "run is not a table"),
        ("[run]\nseed = 4294967296", "seed = 4294967296; expected at most 4294967295"),
        ("[run\n", "not TOML"),
    ],
)
def test_a_mistake_names_the_key_what_was_given_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=r"settings\.toml") as error:
        read_settings(written(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_fold_of_a_task_with_test_files_is_refused() -> None:
    assert read_settings(None, ["task=animals10", "fold=3"]).model.fold == 3
    with pytest.raises(UserError, match="fold = 3, but sign-mnist has test files"):
        read_settings(None, ["task=sign-mnist", "fold=3"])


def test_overrides_are_checked_together_where_they_belong_together() -> None:
    run = read_settings(None, ["mixup_share=0.9", "cutmix_share=0.1"]).run
    assert (run.mixup_share, run.cutmix_share) == (0.9, 0.1)
    with pytest.raises(UserError, match="is over 1"):
        read_settings(None, ["mixup_share=0.9"])


def test_a_step_built_in_is_given_all_its_arguments_and_another_is_left_as_it_is() -> None:
    other = {"name": "Perspective", "scale": [0.02, 0.08]}
    run = read_settings(None, ['augmentation=[{name="affine", zoom=0}, {name="Perspective", scale=[0.02, 0.08]}]']).run
    assert run.augmentation == ({"name": "affine", "rotation_degrees": 0.0, "zoom": 0.0, "shift": 0.0}, other)


def test_the_settings_that_are_printed_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nested = '{name="AdditiveNoise", noise_params={ranges=[[-0.1, 0.1]]}, "p"=1.0}'
    settings = read_settings(None, ['data="\\', f'augmentation=[{{name="flip"}}, {nested}]', "learning_rate=1e-8"])
    commands.settings(settings)
    again = read_settings(written(tmp_path, capsys.readouterr().out))
    assert (again.model, again.run) == (settings.model, settings.run)


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs=three", "epoch=3"])
def test_a_wrong_override_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=f"^--set {override}: "):
        read_settings(None, [override])


def test_keys_are_unique_over_both_tables() -> None:
    assert not set(settings_dict(ModelSettings())) & set(settings_dict(RunSettings()))


steps = st.one_of(
    st.builds(lambda share: {"name": "flip", "share": share}, st.floats(0, 1)),
    st.dictionaries(
        st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.lists(st.integers())
    ).map(lambda arguments: arguments | {"name": "Perspective"}),
)


@given(
    st.builds(
        RunSettings,
        data=st.text(),
        seed=st.integers(0, 2**32 - 1),
        epochs=st.integers(1, 1000),
        learning_rate=st.floats(1e-8, 10),
        validation_share=st.floats(0.001, 0.5),
        require_gpu=st.booleans(),
        augmentation=st.lists(steps, max_size=2).map(tuple),
    )
)
def test_what_is_written_reads_back(settings: RunSettings) -> None:
    stored = json.loads(json.dumps(settings_dict(settings)))
    assert settings_from(RunSettings, stored, "manifest") == settings


def test_the_settings_that_are_shipped_are_valid() -> None:
    files = list((HOUSE / "kernel").glob("*/settings*.toml"))
    assert files
    for path in files:
        read_settings(path)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("[model]\nepochs = 3\n", [], r"^settings\.toml: epochs stands below \[model\]; it belongs below \[run\]$"),
        ("[run]\nbackbone = 'narrow'\n", [], r"^settings\.toml: backbone stands below \[run\]; it belongs below"),
        ("", ["backbon=narrow"], r"^--set backbon=narrow: backbon is not known; did you mean backbone\?$"),
        ("", ["Epochs=3"], r"^--set Epochs=3: Epochs is not known; did you mean epochs\?$"),
        ("", ["xyz=3"], r"^--set xyz=3: xyz is not known; one of task, fold, .*, data, weights, .*, wheels$"),
    ],
)
def test_a_key_that_is_misspelt_or_stands_elsewhere_is_told_where_it_belongs(
    tmp_path: Path, text: str, overrides: list[str], message: str
) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_settings(tmp_path / "settings.toml", overrides)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"learning_rate=1{'0' * 400}", r"learning_rate = inf; expected a finite number"),
        (f"epochs=1{'0' * 5000}", r"epochs = '10+'; expected a whole number"),
    ],
)
def test_a_number_that_no_float_can_hold_is_a_mistake_like_any_other(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_settings(None, [override])


def test_an_output_that_nobody_reads_any_more_is_no_error() -> None:
    """As of `... | head`: the pipe is closed before the first line."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONPATH": str(HOUSE / "src")}
    for command in (["-m", "multihead", "settings"], [str(HOUSE / "build_kernel.py"), "check"]):
        done = subprocess.run(
            [sys.executable, *command], env=environment, stdout=writer, stderr=subprocess.PIPE, check=False
        )
        assert (done.returncode, done.stderr) == (141, b""), command
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_could_not_be_written_is_an_error() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "multihead", "settings"],
            env=environment | {"PYTHONPATH": str(HOUSE / "src")},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the output could not be written: ")
    assert done.stderr.count(b"\n") == 1
