"""Parts of classes: what an image has of them, and that a network learns them beside its heads and drops them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import pandas as pd
import pytest

from multihead.config.files import CHECKPOINT_FILE, WEIGHTS_FILE
from multihead.config.manifest import read_manifest
from multihead.config.settings import ModelSettings, RunSettings
from multihead.config.task import Task
from multihead.data.batches import TrainBatches
from multihead.data.class_parts import PARTS, ClassParts, read_class_parts
from multihead.model.network import build_model
from multihead.model.weights import load_model, probe_images, save_weights
from multihead.runtime.errors import UserError
from multihead.training.build import compiled_network, heads_alone
from multihead.training.checkpoint import read_checkpoint, restore, save_checkpoint
from multihead.training.images import TrainingImages
from multihead.training.keras_io import KerasBatches
from multihead.training.losses import parts_loss
from multihead.training.moving_average import MovingAverage
from multihead.training.resume import FIXED
from multihead.training.schedule import TrainingState
from tests.built_in import BENGALI
from tests.training_process import SETTINGS, Training, assert_same_end

STACK = ModelSettings(backbone="stack", image_size=(8, 8), stack_layers=("dense 4",), dropout=0.5)
TASK = replace(BENGALI, heads={"root": (0, 1, 2), "mark": ("none", "dot")}, score_weights={"root": 2.0})
TABLE = "component_type,label,component\nroot,2,ক্ষ\nroot,0,ক\nroot,1,0\nmark,dot,ষ ং\nmark,none,\nother,7,z\n"
SHARES = np.array([0.5, 0.25, 0.01], np.float32)


def parts_of(folder: Path, text: str = TABLE, task: Task = TASK) -> ClassParts:
    (folder / "class_map.csv").write_text(text, encoding="utf-8")
    return read_class_parts(folder / "class_map.csv", task)


def test_the_parts_of_a_class_are_the_characters_of_its_component(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    assert parts.names == ["ং", "ক", "ষ", "্"]
    assert {head: table.tolist() for head, table in parts.of_classes.items()} == {
        "root": [[0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]],
        "mark": [[0, 0, 0, 0], [1, 0, 1, 0]],
    }


def test_an_image_has_the_parts_of_all_its_classes_and_none_is_known_without_a_label(tmp_path: Path) -> None:
    labels = {"root": np.array([2, 0, 1, -1]), "mark": np.array([1, 1, 0, 1])}
    targets = parts_of(tmp_path).targets(labels)
    assert targets.dtype == np.float32
    expected = [[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0], [np.nan] * 4]
    assert np.array_equal(targets, np.array(expected, np.float32), equal_nan=True)


def test_no_part_is_thought_to_be_in_every_image_or_in_none(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    labels = {"root": np.array([0] * 7 + [-1]), "mark": np.array([0] * 8)}
    assert parts.shares(labels) == pytest.approx([1 / 9, 8 / 9, 1 / 9, 1 / 9])
    assert parts.shares({head: indices[:0] for head, indices in labels.items()}) == pytest.approx([0.5] * 4)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("component_type,label\nroot,0\n", r"class_map.csv: no column component; it has component_type, label"),
        (TABLE.replace("root,1,0\n", ""), r"class_map.csv: no row with the component of root 1"),
        (TABLE + "root,2,x\n", r"class_map.csv, row 8: root 2 stands here for the second time"),
        (TABLE + "root,3,x\n", r"class_map.csv, row 8: root is 3; expected 0 to 2"),
        (
            "component_type,label,component\n" + "".join(f"root,{i},0\n" for i in range(3)) + "mark,none,\nmark,dot,\n",
            r"class_map.csv: no class has a component",
        ),
    ],
)
def test_a_table_that_does_not_spell_every_class_once_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parts_of(tmp_path, text)


def test_heads_that_cannot_be_spelled_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"parts_file = 'class_map.csv': mark is sigmoid; expected softmax heads only"):
        parts_of(tmp_path, task=replace(TASK, kinds={"mark": "sigmoid"}))
    with pytest.raises(UserError, match=r"parts_file = 'class_map.csv': a head is called parts_loss"):
        parts_of(tmp_path, task=replace(TASK, heads={"parts_loss": (0, 1)}))


def test_the_table_is_read_before_a_training_begins(drawn: Path) -> None:
    found = TrainingImages(drawn, BENGALI, STACK, RunSettings(parts_file="class_map.csv"))
    assert found.class_parts is not None
    assert set("0123456789").issubset(found.class_parts.names)
    assert found.part_shares is not None
    assert found.part_shares.shape == (len(found.class_parts.names),)
    with pytest.raises(UserError, match=r"none.csv: not there"):
        TrainingImages(drawn, BENGALI, STACK, RunSettings(parts_file="none.csv"))
    assert TrainingImages(drawn, BENGALI, STACK, RunSettings()).part_shares is None


@pytest.mark.parametrize(("mixup_share", "cutmix_share"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_parts_are_mixed_as_the_labels_are(mixup_share: float, cutmix_share: float) -> None:
    classes = 12
    images = np.random.default_rng(0).integers(0, 256, (classes, 8, 8, 1), np.uint8)
    rows = np.stack([np.zeros(classes, np.int64), np.arange(classes)], 1)
    labels, widths = {"row": np.arange(classes)}, {"row": classes}
    run = RunSettings(batch_size=8, augmentation=(), mixup_share=mixup_share, cutmix_share=cutmix_share)
    each_its_own = ClassParts([chr(97 + place) for place in range(classes)], {"row": np.eye(classes, dtype=np.float32)})
    with_parts, without = (
        TrainBatches([images], rows, labels, widths, run, class_parts=parts, dark_ink=True, epoch=1, shard=0)
        for parts in (each_its_own, None)
    )
    for batch in range(len(without)):
        (seen, targets), (same, heads) = with_parts[batch], without[batch]
        assert np.array_equal(seen, same)  # the random draws do not depend on it
        assert np.array_equal(targets["row"], heads["row"])
        assert np.array_equal(targets[PARTS], targets["row"])
        assert list(heads) == ["row"]


def test_the_loss_of_parts_is_their_sum_and_0_where_they_are_not_known() -> None:
    targets = np.array([[1, 0, 0.25], [np.nan] * 3], np.float32)
    logits = np.array([[2, -1, 0.5], [9, 9, 9]], np.float32)
    said = 1 / (1 + np.exp(-logits[0].astype(np.float64)))
    expected = -(targets[0] * np.log(said) + (1 - targets[0]) * np.log(1 - said)).sum()
    assert float(parts_loss()(targets, logits)) == pytest.approx(expected / 2, rel=1e-5)


def network_of(shares: Any = SHARES, seed: int = 0, **changes: Any) -> Any:
    keras.utils.set_random_seed(seed)
    return compiled_network(BENGALI, STACK, RunSettings(xla="off", **changes), part_shares=shares)


def test_parts_are_added_to_a_network_that_is_otherwise_the_same() -> None:
    with_parts, without = network_of(), network_of(None)
    assert list(without.output) == list(BENGALI.heads)
    assert heads_alone(without, BENGALI) is without
    alone = heads_alone(with_parts, BENGALI)
    for one, other in zip(alone.get_weights(), without.get_weights(), strict=True):
        assert np.array_equal(one, other)
    assert len(with_parts.weights) == len(alone.weights) + 2
    paper = with_parts(np.zeros((1, 8, 8, 1), np.uint8), training=False)
    layer = with_parts.get_layer(PARTS)
    assert paper[PARTS].shape == (1, 3)
    assert 1 / (1 + np.exp(-np.asarray(layer.bias))) == pytest.approx(SHARES, rel=1e-5)


def test_their_loss_is_added_with_its_weight_to_that_of_the_heads() -> None:
    rng = np.random.default_rng(0)
    targets = {head: np.eye(len(c), dtype=np.float32)[:4] for head, c in BENGALI.heads.items()}
    logits = {head: rng.normal(size=of.shape).astype(np.float32) for head, of in targets.items()}
    parts = np.array([[1, 0, 1]] * 4, np.float32)
    said = rng.normal(size=parts.shape).astype(np.float32)
    of_heads = float(network_of(None).compute_loss(y=targets, y_pred=logits))
    network = network_of(parts_weight=0.75)
    whole = float(network.compute_loss(y=targets | {PARTS: parts}, y_pred=logits | {PARTS: said}))
    assert whole == pytest.approx(of_heads + 0.75 * float(parts_loss()(parts, said)), rel=1e-5)


def fit(network: Any, average: MovingAverage, steps: int) -> None:
    rng = np.random.default_rng(0)
    targets = {head: np.eye(len(c), dtype=np.float32)[:4] for head, c in BENGALI.heads.items()}
    batch = rng.integers(0, 256, (4, 8, 8, 1), np.uint8), targets | {PARTS: np.eye(4, 3, dtype=np.float32)}
    source: Any = [batch] * steps
    network.fit(KerasBatches(source, range(steps), [1e-2] * steps), shuffle=False, verbose=0)
    average.is_due()
    average.update()


def test_what_is_saved_is_that_of_a_network_without_parts(tmp_path: Path) -> None:
    network = network_of()
    average = MovingAverage(network, 0.9)
    fit(network, average, 3)
    arrays = saved_arrays(tmp_path / "with", heads_alone(network, BENGALI))
    assert arrays == saved_arrays(tmp_path / "without", build_model(STACK, BENGALI))
    loaded = load_model(tmp_path / "with", read_manifest(tmp_path / "with"))  # which holds it against the probe
    images = probe_images(STACK, BENGALI)
    expected, answers = (of(images, training=False) for of in (network, loaded))
    assert list(answers) == list(BENGALI.heads)
    for head in BENGALI.heads:
        assert np.allclose(answers[head], expected[head], atol=1e-6)


def saved_arrays(folder: Path, network: Any) -> dict[str, tuple[int, ...]]:
    """Save a network's weights, and return the shapes of the arrays in their file by their names."""
    folder.mkdir()
    counts = {head: (1,) * len(classes) for head, classes in BENGALI.heads.items()}
    save_weights(folder, network, STACK, BENGALI, train_counts=counts, score=None, epoch=1)
    shapes: dict[str, tuple[int, ...]] = {}
    with h5py.File(folder / WEIGHTS_FILE) as file:
        file.visititems(lambda name, item: shapes.update({name: getattr(item, "shape", ())}))
    return shapes


def test_a_checkpoint_has_the_parts_so_that_a_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    identity = {"task": {"name": "some"}, "model": {"task": "some"}}
    first, second = network_of(), network_of(seed=1)
    averages = [MovingAverage(network, 0.9) for network in (first, second)]
    fit(first, averages[0], 3)
    save_checkpoint(tmp_path, first, identity, TrainingState(), averages[0])
    checkpoint = read_checkpoint(tmp_path / CHECKPOINT_FILE)
    restore(second, checkpoint, averages[1])
    for network, average in zip((first, second), averages, strict=True):
        fit(network, average, 3)
    ends = [[*map(np.asarray, [*n.variables, *n.optimizer.variables]), *a.arrays]
            for n, a in zip((first, second), averages, strict=True)]  # fmt: skip
    for one, other in zip(*ends, strict=True):
        assert np.array_equal(one, other)
    without = network_of(None)
    with pytest.raises(
        UserError, match=r"has parts/kernel, parts/bias, adamw/\S+ and \d+ more variables; it is of another"
    ):
        restore(without, checkpoint, MovingAverage(without, 0.9))
    assert "parts_file" in FIXED


@pytest.mark.slow
def test_a_training_with_parts_is_killed_and_ends_with_the_same_bits(drawn: Path, tmp_path: Path) -> None:
    def training_of(name: str) -> Training:
        training = Training(tmp_path / name, drawn)
        (training.root / "settings.toml").write_text(f'{SETTINGS}parts_file = "class_map.csv"\n')
        return training

    unbroken, broken = training_of("unbroken"), training_of("broken")
    assert "parts of the classes, from class_map.csv" in unbroken.run_to_the_end()
    for delay in (0.0, 0.3):
        assert broken.kill_when(broken.is_fitting(delay))
    assert "going on from" in broken.run_to_the_end()
    assert_same_end(broken.working, unbroken.working)
    history = pd.read_csv(unbroken.working / "history.csv")
    losses = [history[f"{head}_loss"] * weight * 3 / 4 for head, weight in BENGALI.score_weights.items()]
    assert history["loss"].to_numpy() == pytest.approx(sum(losses) + 0.5 * history["parts_loss"], rel=1e-3)
