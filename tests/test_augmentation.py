import os
import random
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from multihead.config.settings import RunSettings
from multihead.config.settings_file import read_settings
from multihead.config.steps import BUILT_IN_STEPS, Step
from multihead.data import augment as module
from multihead.data.augment import BUILT_IN, TRIED_IMAGES, affine_jitter, augmentation, copy_jitter, flip, try_steps
from multihead.data.batches import TrainBatches
from multihead.runtime.errors import UserError
from tests.conftest import HOUSE

Images = NDArray[np.uint8]

seeds = st.integers(0, 2**32)
shapes = st.tuples(st.integers(0, 6), st.integers(1, 20), st.integers(1, 30), st.sampled_from([1, 3]))
PERSPECTIVE: Step = {"name": "Perspective", "scale": [0.02, 0.08], "p": 0.5, "fill": 255}
# Between them they draw from NumPy's, Python's and OpenCV's generators
DRAWING: list[Step] = [
    PERSPECTIVE,
    {"name": "AdditiveNoise", "noise_type": "gaussian", "spatial_mode": "per_pixel", "p": 0.5}
    | {"noise_params": {"mean_range": [0.0, 0.0], "std_range": [0.1, 0.2]}},
    {"name": "CoarseDropout", "fill": "random"},
    {"name": "ElasticTransform"},
]


def images_of(shape: tuple[int, ...], seed: int) -> Images:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def batches_of(images: Images, steps: list[Step], seed: int = 0) -> TrainBatches:
    """Batches over one shard, not mixed, whose labels are the row numbers."""
    run = RunSettings(batch_size=8, augmentation=tuple(steps), mixup_share=0, cutmix_share=0, seed=seed)
    rows = np.stack([np.zeros(len(images), np.int64), np.arange(len(images))], 1)
    labels = {"row": np.arange(len(images))}
    return TrainBatches([images], rows, labels, {"row": len(images)}, run, dark_ink=True, epoch=1, shard=0)


def affine(rotation: float, zoom: float, shift: float) -> Step:
    return {"name": "affine", "rotation_degrees": rotation, "zoom": zoom, "shift": shift}


steps_built_in = st.one_of(
    st.builds(affine, st.floats(0, 180), st.floats(0, 0.9), st.floats(0, 0.9)),
    st.builds(lambda share: {"name": "flip", "share": share}, st.floats(0, 1)),
)


def test_the_settings_know_the_steps_that_are_built_in() -> None:
    assert BUILT_IN.keys() == BUILT_IN_STEPS.keys()
    for name in BUILT_IN:
        made = augmentation(RunSettings(augmentation=({"name": name},)).augmentation, dark_ink=True)
        assert made(images_of((2, 8, 8, 1), 0), np.random.default_rng(0)).shape == (2, 8, 8, 1)


@given(shapes, seeds, steps_built_in, st.booleans())
def test_a_built_in_step_keeps_shape_and_type_and_leaves_its_input(
    shape: tuple[int, ...], seed: int, step: Step, dark_ink: bool
) -> None:
    images = images_of(shape, seed)
    before = images.copy()
    made = augmentation([step], dark_ink=dark_ink)(images, np.random.default_rng(seed))
    assert (made.shape, made.dtype) == (images.shape, images.dtype)
    assert not np.shares_memory(made, images)
    assert np.array_equal(images, before)


def test_steps_are_applied_in_order() -> None:
    images = np.full((4, 8, 8, 1), 200, np.uint8)
    solarize: Step = {"name": "Solarize", "threshold_range": [0.5, 0.5], "p": 1.0}
    darken: Step = {"name": "RandomBrightnessContrast", "brightness_limit": [-0.5, -0.5], "p": 1.0} | {
        "contrast_limit": [0, 0]
    }
    first = augmentation([solarize, darken], dark_ink=True)(images, np.random.default_rng(0))
    other = augmentation([darken, solarize], dark_ink=True)(images, np.random.default_rng(0))
    assert first.max() == 0  # 200 to 55, and darkened
    assert 60 < other.min() == other.max() < 80  # darkened below the threshold, and left


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_the_same_from_any_thread_in_any_order(channels: int) -> None:
    images = images_of((64, 24, 24, channels), 0)
    first = batches_of(images, DRAWING)
    forwards = [first[i][0] for i in range(len(first))]
    shared = batches_of(images, DRAWING)
    order = [i for _ in range(3) for i in random.Random(0).sample(range(len(shared)), len(shared))]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda i: shared[i][0], order))
    for i, batch in zip(order, made, strict=True):
        assert np.array_equal(batch, forwards[i])


def test_another_batch_and_another_seed_draw_otherwise() -> None:
    images = np.repeat(images_of((1, 24, 24, 1), 0), 16, axis=0)
    for step in DRAWING:
        drawn = [batches_of(images, [{**step, "p": 1.0}], seed)[i][0] for seed in (0, 1) for i in (0, 1)]
        assert len({batch.tobytes() for batch in drawn}) == 4
        assert len({image.tobytes() for image in drawn[0]}) == 8  # and so does each image


def test_which_images_a_probability_picks_differs_from_batch_to_batch() -> None:
    images = np.full((32, 8, 8, 1), 255, np.uint8)
    batches = batches_of(images, [{"name": "InvertImg", "p": 0.5}])
    picked = {tuple((batches[i][0].max(axis=(1, 2, 3)) == 0).tolist()) for i in range(4)}
    assert len(picked) == 4
    assert 8 < sum(map(sum, picked)) < 24


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_trained_on_after_a_transform_of_albumentations(channels: int) -> None:
    import keras

    images = images_of((16, 16, 16, channels), 0)
    batches = batches_of(images, [affine(5.0, 0.1, 0.1), {**PERSPECTIVE, "p": 1.0}])
    inputs = keras.Input((16, 16, channels))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    network = keras.Model(inputs, {"row": keras.layers.Dense(16, name="row")(flat)})
    network.compile(optimizer="sgd", loss={"row": keras.losses.CategoricalCrossentropy(from_logits=True)})
    losses = [network.train_on_batch(*batches[i]) for i in range(2)]
    assert np.isfinite(losses).all()
    assert batches[0][0].shape == (8, 16, 16, channels)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"name": "Perspectiv"},
            "augmentation 2: name = 'Perspectiv'; expected affine, flip or the name of one of alb",
        ),
        ({"name": "OneOf"}, "augmentation 2: name = 'OneOf'; expected affine, flip or the name"),
        ({"name": "check_for_updates"}, "augmentation 2: name = 'check_for_updates'; expected"),
        (
            {"name": "Perspective", "scales": 1},
            "augmentation 2 (Perspective): scales is not known; one of scale, keep_",
        ),
        ({"name": "MedianBlur", "blur": 1}, "augmentation 2 (MedianBlur): blur is not known; one of blur_limit, p"),
        (
            {"name": "Perspective", "scale": "far"},
            "(Perspective): scale = 'far'; Input should be a valid tuple or Input",
        ),
        ({"name": "Perspective", "p": 2.0}, "(Perspective): p = 2.0; Input should be less than or equal to 1"),
        ({"name": "RandomCrop"}, "augmentation 2 (RandomCrop): height: Field required"),
        ({"name": "CropAndPad"}, "augmentation 2 (CropAndPad): Value error, Both px and percent"),
        (
            {"name": "Normalize"},
            "(Normalize) fails on images of 8 x 12 x 1: makes float32 (8, 12, 1) of uint8 (8, 12, 1)",
        ),
        (
            {"name": "RandomRotate90", "p": 0.01},
            "fails on images of 8 x 12 x 1: makes uint8 (12, 8, 1) of uint8 (8, 12",
        ),
        ({"name": "RandomRain"}, "(RandomRain) fails on images of 8 x 12 x 1: This transformation expects 3-channel"),
        ({"name": "ToGray"}, "(ToGray) fails on images of 8 x 12 x 1: The image is already gray"),
        ({"name": "FDA"}, "(FDA) fails on images of 8 x 12 x 1: FDA requires ['fda_metadata']"),
        ({"name": "ImageOnlyTransform"}, "(ImageOnlyTransform) fails on images of 8 x 12 x 1: NotImplementedError"),
    ],
)
def test_a_step_that_would_not_go_is_told_before_there_are_images(step: Step, message: str) -> None:
    with pytest.raises(UserError) as error:
        try_steps([PERSPECTIVE, step], (8, 12, 1))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_steps_in_the_docs_can_be_pasted(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"```toml\n(\[\[run\.augmentation.*?)```", (HOUSE / "docs" / "settings.md").read_text(), re.S
    )
    (tmp_path / "settings.toml").write_text(example)
    steps = read_settings(tmp_path / "settings.toml").run.augmentation
    assert [step["name"] for step in steps] == ["affine", "Perspective"]
    try_steps(steps, (64, 64, 1))


def test_what_needs_colour_goes_with_colour_and_advice_is_not_told() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try_steps([{"name": "ToGray"}, {"name": "ShiftScaleRotate"}], (8, 12, 3))
    assert not caught


def test_without_albumentations_only_its_steps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    try_steps(RunSettings().augmentation, (8, 8, 1))
    with pytest.raises(
        UserError, match=r"name = 'Perspective'; .*, which cannot be imported \(.*make \.venv/ready-dev installs it"
    ):
        try_steps([PERSPECTIVE], (8, 8, 1))


ALONE = """
import sys
def refuse(event, arguments):
    if event.startswith("socket.") and event != "socket.__new__":
        print("network:", event, arguments)
sys.addaudithook(refuse)
from multihead.cli import main
assert main(["settings", "--set", "epochs=1"]) == 0
assert "albumentations" not in sys.modules
assert main(["settings", "--set", "augmentation=[{name='ShiftScaleRotate'}]"]) == 0
assert "albumentations" in sys.modules
"""


def test_albumentations_is_imported_for_its_own_steps_only_and_neither_prints_nor_asks_the_internet() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    environment["PYTHONPATH"] = str(HOUSE / "src")
    ran = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "network:" not in ran.stdout
    assert ran.stdout.count("[run]") == 2


def test_a_probability_is_kept_in_training_and_passed_over_in_trying() -> None:
    applied: list[int] = []

    class Counted:
        def set_random_state(self, *_: Any) -> None:
            pass

        def __call__(self, image: Images, force_apply: bool) -> dict[str, Images]:
            applied.append(force_apply)
            return {"image": image}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_transform", lambda *_: Counted())
        try_steps([PERSPECTIVE], (8, 8, 1))
        assert applied == [True] * TRIED_IMAGES
        augmentation([PERSPECTIVE], dark_ink=True)(images_of((3, 8, 8, 1), 0), np.random.default_rng(0))
    assert applied == [True] * TRIED_IMAGES + [False] * 3


def test_jitter_moves_ink_within_its_bounds_and_fills_with_paper() -> None:
    images = np.full((200, 65, 65, 1), 250, np.uint8)
    images[:, 30:35, 30:35] = 0
    moved = affine_jitter(images, np.random.default_rng(0), rotation_degrees=0, zoom=0, shift=0.2, dark_ink=True)
    assert moved.max() == 250
    centres = np.array([np.argwhere(image[:, :, 0] < 128).mean(axis=0) for image in moved])
    offsets = centres - 32
    assert np.abs(offsets).max() <= 13 + 1
    assert np.abs(offsets).max(axis=0) == pytest.approx([13, 13], abs=1.5)
    assert len({image.tobytes() for image in moved}) > 190


def bars(count: int) -> Images:
    """A dark bar, 41 by 5 pixels, in the middle of white paper."""
    images = np.full((count, 65, 65, 1), 255, np.uint8)
    images[:, 30:35, 12:53] = 0
    return images


def shape_of(image: Images) -> tuple[float, float, float]:
    """Angle in degrees, length and thickness in pixels, of the ink of one image."""
    (_, sides, angle) = cv2.minAreaRect(np.argwhere(image[:, :, 0] < 128)[:, ::-1].astype(np.float32))
    return ((angle + 45) % 90 - 45, max(sides), min(sides))


def test_jitter_turns_by_up_to_its_angle_either_way() -> None:
    rng = np.random.default_rng(0)
    turned = affine_jitter(bars(300), rng, rotation_degrees=20, zoom=0, shift=0, dark_ink=True)
    angles = np.array([shape_of(image)[0] for image in turned])
    assert angles.min() == pytest.approx(-20, abs=1.5)
    assert angles.max() == pytest.approx(20, abs=1.5)
    assert abs(np.median([shape_of(image)[1] for image in turned]) - 40) < 1.5


def test_jitter_zooms_each_axis_by_up_to_its_share() -> None:
    rng = np.random.default_rng(0)
    zoomed = affine_jitter(bars(300), rng, rotation_degrees=0, zoom=0.25, shift=0, dark_ink=True)
    lengths = np.array([shape_of(image)[1:] for image in zoomed]) + 1
    assert lengths[:, 0].min() == pytest.approx(41 * 0.75, abs=2)
    assert lengths[:, 0].max() == pytest.approx(41 * 1.25, abs=2)
    assert abs(np.corrcoef(lengths.T)[0, 1]) < 0.3


def test_jitter_keeps_light_ink_on_dark_ground() -> None:
    images = np.zeros((20, 33, 33, 3), np.uint8)
    images[:, 10:20, 10:20] = (200, 100, 50)
    moved = affine_jitter(images, np.random.default_rng(0), rotation_degrees=20, zoom=0.2, shift=0.3, dark_ink=False)
    assert moved.shape == images.shape
    assert (moved[:, 0, 0] == 0).all()


def test_jitter_gives_the_same_pixels_with_and_without_ipp(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 64, 48, 1), np.uint8)

    def jittered() -> Images:
        step = {"name": "affine", "rotation_degrees": 30.0, "zoom": 0.3, "shift": 0.2}
        return augmentation([step], dark_ink=True)(images, np.random.default_rng(1))

    without = jittered()
    monkeypatch.setattr(module, "use_opencv_alone", lambda: cv2.ipp.setUseIPP(True))
    with_ipp = jittered()
    if not cv2.ipp.useIPP():
        pytest.skip("this OpenCV was built without IPP")
    cv2.ipp.setUseIPP(False)
    assert np.array_equal(with_ipp, without)


def test_a_flip_mirrors_its_share_of_the_images_left_to_right() -> None:
    before = images_of((400, 6, 9, 3), 0)
    after = flip(before, np.random.default_rng(0), share=0.25, dark_ink=True)
    mirrored = (after == before[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 70 < mirrored.sum() < 130
    assert np.array_equal(after[~mirrored], before[~mirrored])


def test_a_test_time_copy_takes_only_the_steps_that_move_pixels() -> None:
    images = images_of((50, 9, 9, 1), 0)
    steps: list[Step] = [
        {"name": "InvertImg", "p": 1.0},
        {"name": "flip", "share": 1.0},
    ]
    jitter = copy_jitter(steps, dark_ink=True)
    assert jitter is not None
    assert np.array_equal(jitter(images, np.random.default_rng(0)), images[:, :, ::-1])
    assert copy_jitter(steps[:1], dark_ink=True) is None
