"""The forms of sixteen competitions: their tasks, their files, and their graders in a few lines of scikit-learn."""

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    log_loss,
    pairwise_distances,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.preprocessing import MultiLabelBinarizer

from multihead.config.scores import score_kind
from multihead.data.datasets import images_to_predict, images_to_train
from tests.conftest import HOUSE
from tests.drawn_tasks import COMPETITIONS, SLUGS, TASKS, Drawn, draw
from tests.reading import read_shard

Cells = pd.DataFrame


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Drawn]:
    """Every competition: 96 images to train on, 24 to predict."""
    folder = tmp_path_factory.mktemp("drawn")
    return {slug: draw(slug, folder / slug, 96) for slug in SLUGS}


def graded(slug: str, submission: Cells, truth: Cells) -> float:
    """Return the score of a submission as the competition's grader computes it from the two tables.

    Raises AssertionError where it would refuse the submission. Two things differ from mle-bench, which here follows
    Kaggle less closely: it grades nine of RANZCR's eleven findings, and passes over labels that no image has.
    """
    image_id = COMPETITIONS[slug].id_column
    assert set(submission.columns) == set(truth.columns)
    assert sorted(submission[image_id]) == sorted(truth[image_id])
    true = truth.set_index(image_id)
    said = submission.set_index(image_id).loc[true.index, true.columns]
    return float(GRADERS[slug](true, said))


def of_classes(measure: Callable[..., float]) -> Callable[[Cells, Cells], float]:
    return lambda true, said: measure(true.iloc[:, 0], said.iloc[:, 0].fillna(""))


def quadratic_kappa(true: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    return float(cohen_kappa_score(true, said, weights="quadratic"))


def mean_roc_auc(true: Cells, said: Cells) -> float:
    assert said.apply(lambda column: column.between(0, 1)).to_numpy().all()
    return float(np.mean([roc_auc_score(true[name], said[name]) for name in true]))


def log_loss_of_classes(true: Cells, said: Cells) -> float:
    assert np.isclose(said.sum(axis=1), 1, atol=1e-6).all()
    assert said.apply(lambda column: column.between(0, 1)).to_numpy().all()
    return float(log_loss(true, said.div(said.sum(axis=1), axis=0)))  # as rounded to single precision they warn


def log_loss_of_one(true: Cells, said: Cells) -> float:
    assert said.iloc[:, 0].between(0, 1).all()
    return float(log_loss(true.iloc[:, 0], said.iloc[:, 0]))


def rmse(true: Cells, said: Cells) -> float:
    assert said.iloc[:, 0].between(1, 100).all()
    return float(root_mean_squared_error(true, said))


def f1_micro(true: Cells, said: Cells) -> float:
    sets = [cells.iloc[:, 0].fillna("").astype(str).str.split() for cells in (true, said)]
    encoder = MultiLabelBinarizer().fit(pd.concat(sets))
    return float(f1_score(*map(encoder.transform, sets), average="micro"))


def map_at_5(true: Cells, said: Cells) -> float:
    """Return the mean of 1 / rank of the right class, 0 where it is none of the first five."""
    ranks = [
        [*answer.split()[:5], label].index(label) + 1
        for label, answer in zip(true.iloc[:, 0], said.iloc[:, 0], strict=True)
    ]
    return float(np.mean([1 / rank if rank <= 5 else 0 for rank in ranks]))


GRADERS: Mapping[str, Callable[[Cells, Cells], float]] = {
    "dog-breed-identification": log_loss_of_classes,
    "aerial-cactus-identification": mean_roc_auc,
    "plant-pathology-2020-fgvc7": mean_roc_auc,
    "plant-pathology-2021-fgvc8": f1_micro,
    "cassava-leaf-disease-classification": of_classes(accuracy_score),
    "aptos2019-blindness-detection": of_classes(quadratic_kappa),
    "siim-isic-melanoma-classification": mean_roc_auc,
    "histopathologic-cancer-detection": mean_roc_auc,
    "petfinder-pawpularity-score": rmse,
    "Kannada-MNIST": of_classes(accuracy_score),
    "paddy-disease-classification": of_classes(accuracy_score),
    "dogs-vs-cats-redux-kernels-edition": log_loss_of_one,
    "leaf-classification": log_loss_of_classes,
    "ranzcr-clip-catheter-line-classification": mean_roc_auc,
    "imet-2020-fgvc7": f1_micro,
    "humpback-whale-identification": map_at_5,
}
WITHOUT_LABELS_FILE = ("Kannada-MNIST", "dogs-vs-cats-redux-kernels-edition")
# What the sample submission scores, where its answers tell
OF_THE_SAMPLE = {
    "dog-breed-identification": np.log(120),
    "leaf-classification": np.log(99),
    "dogs-vs-cats-redux-kernels-edition": np.log(2),
    "aptos2019-blindness-detection": 0,
    "paddy-disease-classification": 0,
    "Kannada-MNIST": 3 / 24,
    "cassava-leaf-disease-classification": 4 / 24,
}


def test_sixteen_competitions_are_described() -> None:
    assert SLUGS == sorted(COMPETITIONS) == sorted(GRADERS)
    assert len(SLUGS) == 16


@pytest.mark.parametrize("slug", SLUGS)
def test_a_task_s_files_are_found_and_the_tables_choose(drawn: Mapping[str, Drawn], slug: str) -> None:
    one = drawn[slug]
    assert one.task.source == slug
    train = images_to_train(one.data, one.task)
    assert len(train.labels) == 96
    assert not train.without_image
    assert not train.without_label
    test = images_to_predict(one.data, one.task)
    assert test.form
    assert list(test.form.rows) == one.solution.iloc[:, 0].astype(str).tolist()
    assert list(test.form.header) == one.solution.columns.tolist()
    assert not test.without_image


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug not in WITHOUT_LABELS_FILE])
def test_the_labels_are_those_of_the_table(drawn: Mapping[str, Drawn], slug: str) -> None:
    one, files = drawn[slug], COMPETITIONS[slug]
    ((head, classes),) = one.task.heads.items()
    table = read_served(one.data / files.labels).astype({files.id_column: str}).set_index(files.id_column)
    labels = images_to_train(one.data, one.task).labels[head]
    for image, label in labels.items():
        row = table.loc[str(image)]
        if files.given == "number":
            assert label == row[files.column]
            continue
        names = {str(classes[place]) for place in (label if isinstance(label, tuple) else (label,))}
        if files.given == "columns":
            assert names == {name for name in map(str, classes) if row[name] == 1}
        else:
            assert names == set(str(row[files.column]).split())


def read_served(path: Path) -> Cells:
    return pd.read_csv(path if path.is_file() else f"{path}.zip")


def test_the_labels_of_names_and_of_rows_are_theirs(drawn: Mapping[str, Drawn]) -> None:
    cats_and_dogs = drawn["dogs-vs-cats-redux-kernels-edition"]
    labels = images_to_train(cats_and_dogs.data, cats_and_dogs.task).labels["label"]
    assert len(labels) == 96
    assert all(Path(str(image)).name.startswith(("cat.", "dog.")[label]) for image, label in labels.items())
    kannada = drawn["Kannada-MNIST"]
    rows = read_served(kannada.data / "train.csv")["label"].tolist()
    assert images_to_train(kannada.data, kannada.task).labels["label"].tolist() == rows


def test_images_and_tables_are_packed_where_kaggle_packs_them(drawn: Mapping[str, Drawn]) -> None:
    def files_of(slug: str) -> set[str]:
        return {path.name for path in drawn[slug].data.iterdir()}

    assert files_of("aerial-cactus-identification") == {"train.zip", "test.zip", "train.csv", "sample_submission.csv"}
    assert files_of("dogs-vs-cats-redux-kernels-edition") == {"train.zip", "test.zip", "sample_submission.csv"}
    assert files_of("leaf-classification") == {
        *("images.zip", "train.csv.zip", "test.csv.zip", "sample_submission.csv.zip"),
    }
    with zipfile.ZipFile(drawn["dogs-vs-cats-redux-kernels-edition"].data / "train.zip") as archive:
        assert "train/cat.0.jpg" in archive.namelist() or "train/dog.0.jpg" in archive.namelist()


def test_the_same_seed_draws_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for slug in ("aerial-cactus-identification", "siim-isic-melanoma-classification", "Kannada-MNIST"):
        for name, seed in (("first", 0), ("again", 0), ("other", 1)):
            draw(slug, tmp_path / slug / name, 8, seed)
        first, again, other = (content(tmp_path / slug / name) for name in ("first", "again", "other"))
        assert first == again
        assert first != other
        assert "solution.csv" in first
        assert not any("solution" in name for name in first if name.startswith(slug))


@pytest.mark.parametrize("slug", SLUGS)
def test_a_perfect_submission_has_the_best_score_and_the_sample_a_poor_one(
    drawn: Mapping[str, Drawn], slug: str
) -> None:
    one = drawn[slug]
    is_loss = score_kind(one.task.score).is_loss
    perfect = graded(slug, one.solution.sample(frac=1, random_state=0), one.solution)
    assert perfect == pytest.approx(0 if is_loss else 1, abs=1e-9)
    poor = graded(slug, one.sample, one.solution)
    assert poor > 0.5 if is_loss else poor <= 0.5
    if slug in OF_THE_SAMPLE:
        assert poor == pytest.approx(OF_THE_SAMPLE[slug], abs=1e-6)


def test_a_rank_counts_by_its_reciprocal() -> None:
    truth = pd.DataFrame({"Image": ["a", "b", "c", "d"], "Id": ["w1", "w2", "w3", "new_whale"]})
    said = truth.assign(Id=["w1 w2 w3 w4 w5", "w1 w2 w3 w4 w5", "w1 w2 w4 w5 w6 w3", "w1 w2 w4 w5 new_whale"])
    assert graded("humpback-whale-identification", said, truth) == pytest.approx((1 + 1 / 2 + 0 + 1 / 5) / 4)


def test_labels_count_alike_whichever_image_has_them() -> None:
    truth = pd.DataFrame({"image": ["a", "b", "c"], "labels": ["rust scab", "healthy", "scab"]})
    said = truth.assign(labels=["scab", "healthy complex", np.nan])
    assert graded("plant-pathology-2021-fgvc8", said, truth) == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))


@pytest.mark.parametrize(
    ("slug", "answer"),
    [
        ("petfinder-pawpularity-score", 0.5),
        ("dogs-vs-cats-redux-kernels-edition", 1.01),
        ("dog-breed-identification", 0.009),
        ("siim-isic-melanoma-classification", -0.1),
    ],
)
def test_what_a_grader_would_refuse_is_refused(drawn: Mapping[str, Drawn], slug: str, answer: float) -> None:
    one = drawn[slug]
    answers = one.solution.columns[1:]
    with pytest.raises(AssertionError):
        graded(slug, one.solution.assign(**dict.fromkeys(answers, answer)), one.solution)
    with pytest.raises(AssertionError):
        graded(slug, one.sample[1:], one.solution)


@pytest.mark.parametrize("slug", SLUGS)
def test_images_tell_their_labels(drawn: Mapping[str, Drawn], slug: str) -> None:
    """Images of one label are more alike than those of others, so that a network has something to learn."""
    one = drawn[slug]
    (head,) = one.task.heads
    train = images_to_train(one.data, one.task)
    shard = read_shard(train.parts[0], one.task, train.labels)
    assert shard.images.shape[1:] == one.task.image_shape
    assert shard.labels is not None
    assert not shard.blank
    labels = train.labels.loc[list(shard.ids), head].to_numpy()
    groups = pd.factorize(np.round(labels / 10) if one.task.kind(head) == "number" else labels)[0]
    distances = pairwise_distances(shard.images.reshape(len(shard.images), -1).astype(np.float32))
    is_same, is_itself = groups[:, None] == groups, np.eye(len(groups), dtype=np.bool_)
    assert distances[is_same & ~is_itself].mean() < 0.9 * distances[~is_same].mean()


def test_the_docs_have_a_row_for_each_with_lines_of_its_file() -> None:
    page = (HOUSE / "docs" / "tasks.md").read_text()
    rows = re.findall(r"^\| \[(\S+)\]\(\.\./tests/tasks/(\S+)/task\.toml\) \|.*\| (.*) \|$", page, re.MULTILINE)
    assert sorted(slug for slug, _, _ in rows) == SLUGS
    for slug, folder, cell in rows:
        assert slug == folder
        lines = (TASKS / slug / "task.toml").read_text().splitlines()
        for code in re.findall(r"`(.*?)`", cell):
            assert any(line == code or (code.endswith("[...]") and line.startswith(code[:-4])) for line in lines), code
