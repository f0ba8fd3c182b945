"""Small drawn competitions in exactly the files of those that tests/tasks describes.

What they serve and how they grade is known from their pages and from the preparations of github.com/openai/mle-bench.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sample_images import draw_shape

from multihead.config.known_tasks import read_task
from multihead.config.task import Label, Task

TASKS = Path(__file__).with_name("tasks")
SLUGS = sorted(path.name for path in TASKS.iterdir())
SAMPLE, SOLUTION = "sample_submission.csv", "solution.csv"
MOST_DRAWN = 40  # classes; of more, only some 20 are drawn, so that few images are enough to learn from

ImageLabel = tuple[int, ...] | float  # its class indices, or its number
Ids = Callable[[str, int, np.random.Generator], list[str]]  # of a part, "train" or "test", with so many images


def _ids(train: str, test: str = "") -> Ids:
    """Return ids of a form for each part: of a number from 0, a place from 1, and random digits."""

    def ids(part: str, count: int, rng: np.random.Generator) -> list[str]:
        form = train if part == "train" or not test else test
        hexadecimal = ["".join(row) for row in rng.choice(list("0123456789abcdef"), (count, 40))]
        decimal = ["".join(row) for row in rng.choice(list("0123456789"), (count, 40))]
        return [form.format(number=i, place=i + 1, hex=hexadecimal[i], digits=decimal[i]) for i in range(count)]

    return ids


@dataclass(frozen=True)
class Files:
    """What a competition serves.

    train, test: the files of images, each with {id}, or {label} and {number}. ids: how the images are called.
    id_column, column: in the tables. given, answered: the form of the labels in the table of train labels, and in the
    sample, as _cells has them. sample: what the sample answers. labels: the table of train labels. before, after: its
    columns beside the labels, with what may stand there. test_table: a table of the test images, with the columns of
    `before` but for those of only_train. zipped: folders and tables in whose place a zip lies. beside: other files.
    """

    train: str
    test: str
    ids: Ids
    id_column: str
    column: str = ""
    given: str = "class"
    answered: str = "class"
    sample: float | str = 0
    labels: str = "train.csv"
    before: Mapping[str, Sequence[object]] = field(default_factory=dict)
    after: Mapping[str, Sequence[object]] = field(default_factory=dict)
    test_table: str = ""
    only_train: Sequence[str] = ()
    zipped: Sequence[str] = ()
    beside: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A drawn competition: its task, the folder that Kaggle would mount, and the truth as its grader takes it."""

    task: Task
    data: Path
    solution: pd.DataFrame

    @property
    def sample(self) -> pd.DataFrame:
        """The sample submission."""
        packed = self.data / f"{SAMPLE}.zip"
        return pd.read_csv(packed if packed.is_file() else self.data / SAMPLE)


def draw(slug: str, folder: Path, images: int = 240, seed: int = 0) -> Drawn:
    """Draw a competition into folder/<slug>, and its truth into folder/solution.csv.

    images: how many there are to train on; to predict, a quarter of that. The same arguments draw the same files.
    """
    files, data = COMPETITIONS[slug], folder / slug
    task = read_task(TASKS / slug / "task.toml")
    data.mkdir(parents=True)
    _draw_part(data, files, task, "train", images, seed)
    solution = _draw_part(data, files, task, "test", images // 4, seed)
    solution.to_csv(folder / SOLUTION, index=False)
    answers = solution.columns.drop(files.id_column)
    solution.assign(**dict.fromkeys(answers, files.sample)).to_csv(data / SAMPLE, index=False)
    for name, content in files.beside.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    for name in files.zipped:
        _zip(data / name)
    return Drawn(task, data, pd.read_csv(folder / SOLUTION))


def _draw_part(data: Path, files: Files, task: Task, part: str, count: int, seed: int) -> pd.DataFrame:
    """Write the images of a part, and its table where it has one; return their ids with answers that are right."""
    rng = np.random.default_rng([seed, part == "test"])
    (head,) = task.heads
    ids, labels = files.ids(part, count, rng), _draw_labels(task, files, count, rng)
    pictures = [_picture(task, label, rng) for label in labels]
    id_cells = {files.id_column: ids}
    given, answers = (_cells(form, files.column, task.heads[head], labels) for form in (files.given, files.answered))
    before, after = (
        {name: rng.choice(np.array(cells, object), count) for name, cells in columns.items()}
        for columns in (files.before, files.after)
    )
    if task.reader == "pixel csv":
        pixels = pd.DataFrame(np.stack(pictures).reshape(count, -1)).add_prefix("pixel")
        first = pd.DataFrame(given if part == "train" else id_cells)
        first.join(pixels).to_csv(data / getattr(files, part), index=False)
        return pd.DataFrame(id_cells | answers)
    for number, (name, label, picture) in enumerate(zip(ids, labels, pictures, strict=True)):
        folder = task.heads[head][label[0]] if isinstance(label, tuple) and label else ""
        path = data / getattr(files, part).format(id=name, label=folder, number=number)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture)
    if part == "train" and task.labels_file:
        pd.DataFrame(id_cells | before | given | after).to_csv(data / files.labels, index=False)
    if part == "test" and files.test_table:
        table = pd.DataFrame(id_cells | before).drop(columns=list(files.only_train))
        table.to_csv(data / files.test_table, index=False)
    return pd.DataFrame(id_cells | answers)


def _draw_labels(task: Task, files: Files, count: int, rng: np.random.Generator) -> list[ImageLabel]:
    """Return a number from 1 to 100 for each image, or its classes: one, or up to three, each class equally often."""
    (head,) = task.heads
    if task.kind(head) == "number":
        return [float(number) for number in rng.integers(1, 101, count)]
    width = task.width(head)
    classes = np.arange(0, width, 1 if width <= MOST_DRAWN else width // 20)
    first = rng.permutation(np.resize(classes, count)).tolist()
    if task.is_one_of(head):
        return [(label,) for label in first]
    several = [tuple(sorted({label, *rng.choice(classes, rng.integers(3)).tolist()})) for label in first]
    has_none = files.given == "columns"  # where an image may have no class at all, one of twelve has none
    return [() if has_none and number % 12 == 5 else labels for number, labels in enumerate(several)]


def _picture(task: Task, label: ImageLabel, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an image of the task's shape, uint8: a shape in its colour for each class; a number or grade is bright."""
    (head,) = task.heads
    height, width, channels = task.image_shape
    shapes, brightness = label if isinstance(label, tuple) else (), 1.0
    if not isinstance(label, tuple):
        shapes, brightness = (0,), label / 100
    elif task.kind(head) == "ordinal":
        shapes, brightness = (0,), (label[0] + 1) / task.width(head)
    image = rng.uniform(0, 12, (height, width, channels))  # one that is black all over would be blank
    for shape in shapes:
        colour = np.random.default_rng(shape).uniform(0.2, 1, channels) if channels == 3 else np.ones(1)
        drawn = draw_shape(shape, (height, width), rng)[:, :, None].astype(np.float64)
        image = np.maximum(image, brightness * colour * (drawn if channels == 1 else 0.6 * drawn + 90))
    return np.clip(image + rng.uniform(0, 6, image.shape), 0, 255).astype(np.uint8)  # no image is blank


def _cells(form: str, column: str, classes: Sequence[Label], labels: Sequence[Any]) -> dict[str, list[object]]:
    """Return labels as columns of a table: a class by its name or index, several parted by spaces, or 1 and 0 each."""
    match form:
        case "class":
            return {column: [classes[label[0]] for label in labels]}
        case "index":
            return {column: [label[0] for label in labels]}
        case "list":
            return {column: [" ".join(str(classes[place]) for place in label) for label in labels]}
        case "columns":
            return {str(name): [int(place in label) for label in labels] for place, name in enumerate(classes)}
    return {column: [int(number) for number in labels]}


def _zip(path: Path) -> None:
    """Put a zip in the place of a table, or of a folder, whose name it keeps within."""
    members = sorted(path.iterdir()) if path.is_dir() else [path]
    with zipfile.ZipFile(f"{path}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(zipfile.ZipInfo(member.relative_to(path.parent).as_posix()), member.read_bytes())
            member.unlink()
    if path.is_dir():
        path.rmdir()


YES_OR_NO = (0, 1)
PETFINDER = (
    *("Subject Focus", "Eyes", "Face", "Near", "Action", "Accessory"),
    *("Group", "Collage", "Human", "Occlusion", "Info", "Blur"),
)
LEAF = tuple(f"{feature}{number}" for feature in ("margin", "shape", "texture") for number in range(1, 65))
DISEASES = b'{"0": "Cassava Bacterial Blight (CBB)", "4": "Healthy"}'
ANNOTATIONS = b'StudyInstanceUID,label,data\n1.2.826.0.1.3680043.8.498.1,CVC - Normal,"[[1, 2], [3, 4]]"\n'
ATTRIBUTES = "attribute_id,attribute_name\n" + "".join(f"{number},tags::{number}\n" for number in range(3474))
TFRECORD = b"a record of images that no reader opens"

COMPETITIONS: Mapping[str, Files] = {
    "dog-breed-identification": Files(
        "train/{id}.jpg",
        "test/{id}.jpg",
        _ids("{hex:.32}"),
        "id",
        "breed",
        answered="columns",
        sample=1 / 120,
        labels="labels.csv",
    ),
    "aerial-cactus-identification": Files(
        "train/{id}", "test/{id}", _ids("{hex:.32}.jpg"), "id", "has_cactus", sample=0.5, zipped=("train", "test")
    ),
    "plant-pathology-2020-fgvc7": Files(
        "images/{id}.jpg",
        "images/{id}.jpg",
        _ids("Train_{number}", "Test_{number}"),
        "image_id",
        given="columns",
        answered="columns",
        sample=0.25,
        test_table="test.csv",
    ),
    "plant-pathology-2021-fgvc8": Files(
        "train_images/{id}",
        "test_images/{id}",
        _ids("{hex:.16}.jpg"),
        "image",
        "labels",
        given="list",
        answered="list",
        sample="healthy",
    ),
    "cassava-leaf-disease-classification": Files(
        "train_images/{id}",
        "test_images/{id}",
        _ids("1{digits:.9}.jpg"),
        "image_id",
        "label",
        sample=4,
        beside={
            "label_num_to_disease_map.json": DISEASES,
            "train_tfrecords/ld_train00-1338.tfrec": TFRECORD,
            "test_tfrecords/ld_test00-1.tfrec": TFRECORD,
        },
    ),
    "aptos2019-blindness-detection": Files(
        "train_images/{id}.png",
        "test_images/{id}.png",
        _ids("{hex:.12}"),
        "id_code",
        "diagnosis",
        test_table="test.csv",
    ),
    "siim-isic-melanoma-classification": Files(
        "jpeg/train/{id}.jpg",
        "jpeg/test/{id}.jpg",
        _ids("ISIC_0{number:06}", "ISIC_1{number:06}"),
        "image_name",
        "target",
        before={
            "patient_id": tuple(f"IP_{number:07}" for number in range(40)),
            "sex": ("male", "female", ""),
            "age_approx": (45.0, 50.0, ""),
            "anatom_site_general_challenge": ("torso", "head/neck", ""),
            "diagnosis": ("nevus", "melanoma", "unknown"),
            "benign_malignant": ("benign", "malignant"),
        },
        test_table="test.csv",
        only_train=("diagnosis", "benign_malignant"),
        beside={"train/ISIC_0000000.dcm": b"DICM", "tfrecords/train00-2071.tfrec": TFRECORD},
    ),
    "histopathologic-cancer-detection": Files(
        "train/{id}.tif", "test/{id}.tif", _ids("{hex:.40}"), "id", "label", labels="train_labels.csv"
    ),
    "petfinder-pawpularity-score": Files(
        "train/{id}.jpg",
        "test/{id}.jpg",
        _ids("{hex:.32}"),
        "Id",
        "Pawpularity",
        given="number",
        answered="number",
        sample=50.5,
        before=dict.fromkeys(PETFINDER, YES_OR_NO),
        test_table="test.csv",
    ),
    "Kannada-MNIST": Files(
        "train.csv",
        "test.csv",
        _ids("{number}"),
        "id",
        "label",
        beside={"Dig-MNIST.csv": ("label," + ",".join(f"pixel{i}" for i in range(784)) + "\n").encode()},
    ),
    "paddy-disease-classification": Files(
        "train_images/{label}/{id}",
        "test_images/{id}",
        _ids("1{place:05}.jpg", "2{place:05}.jpg"),
        "image_id",
        "label",
        sample="",
        after={"variety": ("ADT45", "KarnatakaPonni"), "age": (45, 50, 70)},
    ),
    "dogs-vs-cats-redux-kernels-edition": Files(
        "train/{label}.{number}.jpg",
        "test/{id}.jpg",
        _ids("{place}"),
        "id",
        "label",
        answered="index",
        sample=0.5,
        zipped=("train", "test"),
    ),
    "leaf-classification": Files(
        "images/{id}.jpg",
        "images/{id}.jpg",
        _ids("{place}1", "{place}2"),
        "id",
        "species",
        answered="columns",
        sample=1 / 99,
        after=dict.fromkeys(LEAF, (0.007812, 0.023438, 0.000659)),
        test_table="test.csv",
        zipped=("images", "train.csv", "test.csv", SAMPLE),
    ),
    "ranzcr-clip-catheter-line-classification": Files(
        "train/{id}.jpg",
        "test/{id}.jpg",
        _ids("1.2.826.0.1.3680043.8.498.1{digits:.37}"),
        "StudyInstanceUID",
        given="columns",
        answered="columns",
        after={"PatientID": tuple(f"{number:09x}" for number in range(0xEC89415D1, 0xEC89415D1 + 40))},
        beside={"train_annotations.csv": ANNOTATIONS, "train_tfrecords/00-1881.tfrec": TFRECORD},
    ),
    "imet-2020-fgvc7": Files(
        "train/{id}.png",
        "test/{id}.png",
        _ids("{hex:.32}"),
        "id",
        "attribute_ids",
        given="list",
        answered="list",
        sample="0 1 2",
        beside={"labels.csv": ATTRIBUTES.encode()},
    ),
    "humpback-whale-identification": Files(
        "train/{id}",
        "test/{id}",
        _ids("{hex:.9}.jpg"),
        "Image",
        "Id",
        sample="new_whale w_23a388d w_9b5109b w_9c506f6 w_0369a5c",
    ),
}
