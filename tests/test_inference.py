import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.data import shards as module
from multihead.data.augment import Augment, augmentation
from multihead.data.crop import crop_resize
from multihead.data.shards import Part, Shard
from multihead.prediction import predictor as inference
from multihead.prediction.predictor import MEASURED_BATCHES, Member, Predictor, images_per_second, predict_probabilities
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI
from tests.reading import read_shard, shards_to_predict

BATCH = 4
MODEL = ModelSettings(backbone="resnet10", image_size=(8, 8))


def logits_of(shares: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(shares)


class Network:
    """Answers the class that the image's mean grey value names; each batch takes a second of the clock."""

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.seen, self.calls = clock, 0, 0

    def predict_on_batch(self, images: Any) -> dict[str, Any]:
        assert images.shape == (BATCH, 8, 8, 1)
        self.calls += 1
        if self.calls == 1:  # compiles it, while the first file is read
            return self._answers(images)
        self.clock[0] += 1
        self.seen += 1
        return self._answers(images)

    @staticmethod
    def _answers(images: Any) -> dict[str, Any]:
        grey = images.mean(axis=(1, 2, 3)).astype(int)
        return {head: np.eye(len(c), dtype=np.float32)[grey % len(c)] for head, c in BENGALI.heads.items()}


def unread(count: int) -> list[Any]:
    """Return parts that nothing reads: what crops_ahead would make of them is given."""
    return [None] * count


def no_problem(problem: str, cause: Exception | None) -> None:
    raise AssertionError(problem)


def shards(count: int, images: int) -> list[Shard]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, images, 8, 8, 1), np.uint8)
    return [Shard([f"Test_{n}_{i}" for i in range(images)], pixels[n], None) for n in range(count)]


JITTER = augmentation(RunSettings().augmentation, dark_ink=True)


def predict(
    parts: list[Shard], network: Network, run: RunSettings, seconds: float, augment: Augment | None = JITTER
) -> list[pd.DataFrame]:
    """Predict shards each of which takes so many seconds to read."""

    def crops_ahead(*_: Any, **__: Any) -> Iterator[tuple[list[Shard], float]]:
        for shard in parts:
            clock[0] += seconds
            yield [shard], seconds

    clock = getattr(network, "clock", [0.0])
    total = sum(len(shard.ids) for shard in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", crops_ahead)
        patch.setattr(inference, "elapsed", lambda: clock[0])
        predictor = Predictor(
            [Member(network, MODEL, lambda answers: answers, augment)],
            BENGALI,
            run,
            total_images=total,
            on_problem=no_problem,
        )
        return list(predictor.predict_files(unread(1)))


@given(
    st.integers(1, 5),
    st.integers(1, 20),
    st.integers(0, 4),
    st.floats(0.1, 9),
    st.floats(0, 5),
    st.sampled_from([0, 3]),
)
@settings(max_examples=150)
def test_copies_take_only_the_time_that_predicting_all_images_once_leaves(
    files: int, images: int, copies: int, spare: float, seconds: float, started: float
) -> None:
    network = Network([started])
    once = files * (seconds + math.ceil(images / BATCH))
    deadline = started + once + spare + 1e-7  # a budget in minutes is rounded
    run = RunSettings(batch_size=BATCH, test_time_copies=copies, time_budget_minutes=deadline / 0.9 / 60)
    assert run.deadline() == pytest.approx(deadline)
    tables = predict(shards(files, images), network, run, seconds)
    assert sum(map(len, tables)) == files * images
    assert network.clock[0] <= deadline + 1e-6
    if spare - 1e-6 >= copies * files * math.ceil(images / BATCH):  # the deadline was rounded on its way
        assert network.seen == files * math.ceil(images / BATCH) * (1 + copies)


def test_with_no_time_for_all_the_images_the_first_are_predicted_and_no_copy() -> None:
    network = Network([0.0])
    run = RunSettings(batch_size=BATCH, test_time_copies=3, time_budget_minutes=4.5 / 0.9 / 60)
    tables = predict(shards(3, 8), network, run, 0.0)
    assert [len(table) for table in tables] == [8, 8, 4]
    assert network.seen == 5


def test_a_copy_is_jittered_as_its_seed_says_and_counts_as_much_as_the_image() -> None:
    parts = shards(2, 6)
    seeds = [RunSettings(batch_size=BATCH, test_time_copies=8, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (pd.concat(predict(parts, Network([0.0]), run, 0.0)) for run in seeds)
    plain = pd.concat(predict(parts, Network([0.0]), RunSettings(batch_size=BATCH), 0.0))
    assert first.equals(again)
    assert not first.equals(other)
    assert not first.equals(plain)
    network = Network([0.0])
    assert pd.concat(predict(parts, network, seeds[0], 0.0, augment=None)).equals(plain)
    assert network.seen == 4  # what was trained without jitter has no copies


def test_an_ensemble_of_which_one_cannot_be_jittered_makes_no_copies_so_that_all_count_the_same() -> None:
    parts, run = shards(2, 6), RunSettings(batch_size=BATCH, test_time_copies=3)
    first, second = Network([0.0]), Network([0.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", lambda *_, **__: iter([([shard], 0.0) for shard in parts]))
        members = [
            Member(first, MODEL, lambda answers: answers, JITTER),
            Member(second, MODEL, lambda answers: answers),
        ]
        predictor = Predictor(members, BENGALI, run, total_images=12, on_problem=no_problem)
        list(predictor.predict_files(unread(2)))
    assert (first.seen, second.seen) == (4, 4)


def test_the_last_batch_is_padded_and_cut() -> None:
    network = Network([0.0])
    (shard,) = shards(1, 6)
    probabilities = predict_probabilities(network, shard.images, BATCH)
    grey = shard.images.mean(axis=(1, 2, 3)).astype(int)
    for head, classes in BENGALI.heads.items():
        assert probabilities[head].argmax(axis=1).tolist() == (grey % len(classes)).tolist()
    assert network.seen == 1  # and one that compiles it


class Odd:
    """Answers class 0 with 0.6 where the image is as it was, class 1 with more or less where it is jittered."""

    def __init__(self, images: Any, jittered: float) -> None:
        self.known, self.jittered = {image.tobytes() for image in images}, jittered

    def predict_on_batch(self, images: Any) -> dict[str, Any]:
        is_known = np.array([image.tobytes() in self.known for image in images])
        first = np.where(is_known, 0.6, 1 - self.jittered).astype(np.float32)
        shares = {h: np.stack([first, 1 - first] + [0 * first] * (len(c) - 2), 1) for h, c in BENGALI.heads.items()}
        return {head: logits_of(rows) for head, rows in shares.items()}


@pytest.mark.parametrize(
    ("copies", "jittered", "answer"), [(1, 0.55, 0), (1, 0.65, 1), (3, 0.52, 0), (3, 0.54, 1), (1, np.nan, 0)]
)
def test_the_answer_is_that_of_the_mean_over_image_and_copies(copies: int, jittered: float, answer: int) -> None:
    (shard,) = shards(1, 5)
    run = RunSettings(batch_size=BATCH, test_time_copies=copies)
    far = augmentation([{"name": "affine", "rotation_degrees": 0.0, "zoom": 0.0, "shift": 0.5}], dark_ink=True)
    (table,) = predict([shard], Odd(shard.images, jittered), run, 0.0, far)  # type: ignore[arg-type]
    assert (table == answer).all(axis=None)


def test_members_answer_together_each_with_its_own_adjustment() -> None:
    (shard,) = shards(1, 5)

    class Constant:
        def __init__(self, share: float) -> None:
            self.share, self.calls = share, 0

        def predict_on_batch(self, images: Any) -> dict[str, Any]:
            self.calls += 1
            shares = [self.share, 1 - self.share]
            rows = {h: np.array(shares + [0.0] * (len(c) - 2), np.float32) for h, c in BENGALI.heads.items()}
            return {h: np.tile(logits_of(row), (len(images), 1)) for h, row in rows.items()}

    first, second = Constant(0.7), Constant(0.6)

    def turned(probabilities: Any) -> Any:
        return {head: answer[:, [1, 0, *range(2, answer.shape[1])]] for head, answer in probabilities.items()}

    run = RunSettings(batch_size=BATCH)
    answers = {}
    for name, adjust in (("plain", lambda answers: answers), ("turned", turned)):
        members = [Member(first, MODEL, adjust), Member(second, MODEL, lambda answers: answers)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inference, "crops_ahead", lambda *_, **__: iter([([shard], 0.0)]))
            predictor = Predictor(members, BENGALI, run, total_images=5, on_problem=no_problem)
            (table,) = predictor.predict_files(unread(1))
        answers[name] = set(table.to_numpy().ravel().tolist())
    assert answers == {"plain": {0}, "turned": {1}}  # 0.3 + 0.6 against 0.7 + 0.4
    assert second.calls == first.calls


def test_each_member_sees_the_crops_of_its_own_model_of_a_file_that_is_read_once(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seeing:
        def __init__(self) -> None:
            self.batches: list[Any] = []

        def predict_on_batch(self, images: Any) -> dict[str, Any]:
            self.batches.append(images.copy())
            return Network._answers(images)

    def counted(part: Any, *others: Any) -> Shard:
        read.append(part)
        return module.read_shard(part, *others)

    read: list[Part] = []
    monkeypatch.setattr("multihead.data.crop_store.read_shard", counted)
    models = [replace(MODEL, image_size=(16, 12), crop="none"), MODEL, replace(MODEL, image_size=(16, 12), crop="none")]
    members = [Member(Seeing(), model, lambda answers: answers) for model in models]
    (file,) = shards_to_predict(drawn, BENGALI)[:1]
    predictor = Predictor(members, BENGALI, RunSettings(batch_size=3), total_images=3, on_problem=no_problem)
    (table,) = predictor.predict_files([file])
    assert (len(table), read) == (3, [file])
    whole = read_shard(file, BENGALI)
    for member in members:
        _, seen = member.network.batches  # the first compiles it
        expected = crop_resize(whole.images, member.model.image_size, member.model.crop_of(BENGALI), dark_ink=True)
        assert np.array_equal(seen, expected)


@pytest.mark.parametrize("stall", range(80, 92))
def test_a_first_pass_that_the_budget_cuts_off_is_followed_by_no_other_member(stall: int) -> None:
    clock = [0.0]

    class Paced(Network):
        def __init__(self, seconds: float) -> None:
            super().__init__(clock)
            self.batch_seconds = seconds

        def predict_on_batch(self, images: Any) -> dict[str, Any]:
            clock[0] += self.batch_seconds - 1 if self.calls else 0
            return super().predict_on_batch(images)

    def stalled(*_: Any, **__: Any) -> Iterator[tuple[list[Shard], float]]:
        yield from (([shard], 0.0) for shard in shards(2, 40))
        clock[0] += stall
        yield shards(1, 12), 0.0

    run = RunSettings(batch_size=BATCH, time_budget_minutes=200 / 0.9 / 60)
    members = [Member(Paced(seconds), MODEL, lambda answers: answers) for seconds in (5.0, 0.1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", stalled)
        patch.setattr(inference, "elapsed", lambda: clock[0])
        predictor = Predictor(members, BENGALI, run, total_images=92, on_problem=no_problem)
        tables = list(predictor.predict_files(unread(1)))
    assert [len(table) for table in tables[:2]] == [40, 40]
    assert predictor.is_late == (len(tables[2]) < 12)


def test_a_blank_image_is_named_and_left_out() -> None:
    (shard,) = shards(1, 5)
    problems: list[str] = []
    models = [MODEL, replace(MODEL, crop="none")]
    members = [Member(Network([0.0]), model, lambda answers: answers) for model in models]
    with pytest.MonkeyPatch.context() as patch:
        both = [replace(shard, blank=["Test_0_1"])] * 2
        patch.setattr(inference, "crops_ahead", lambda *_, **__: iter([(both, 0.0)]))
        run = RunSettings(batch_size=BATCH)
        predictor = Predictor(
            members, BENGALI, run, total_images=5, on_problem=lambda problem, _: problems.append(problem)
        )
        (table,) = predictor.predict_files(unread(1))
    assert problems == ["blank images, 1: Test_0_1"]
    assert list(table.index) == ["Test_0_0", "Test_0_2", "Test_0_3", "Test_0_4"]


def test_an_ensemble_is_left_out_where_its_time_is_not_there() -> None:
    clock = [0.0]
    members = [Member(Network(clock), MODEL, lambda answers: answers) for _ in range(2)]
    parts = shards(2, 8)

    def crops_ahead(*_: Any, **__: Any) -> Iterator[tuple[list[Shard], float]]:
        yield from (([shard], 0.0) for shard in parts)

    run = RunSettings(batch_size=BATCH, time_budget_minutes=5 / 0.9 / 60)  # 4 batches once, 8 by both
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", crops_ahead)
        patch.setattr(inference, "elapsed", lambda: clock[0])
        predictor = Predictor(members, BENGALI, run, total_images=16, on_problem=no_problem)
        tables = list(predictor.predict_files(unread(1)))
    assert [len(table) for table in tables] == [8, 8]
    assert not predictor.is_late
    assert [member.network.seen for member in members] == [4, 0]


@pytest.mark.parametrize("batch_seconds", [1, 3, 10])
def test_a_slow_member_never_costs_an_image_its_answer(batch_seconds: int) -> None:
    clock = [0.0]

    class Slow(Network):
        def predict_on_batch(self, images: Any) -> dict[str, Any]:
            clock[0] += (batch_seconds - 1) if self.calls else 0
            return super().predict_on_batch(images)

    members = [
        Member(Network(clock), MODEL, lambda answers: answers),
        Member(Slow(clock), MODEL, lambda answers: answers),
    ]
    parts = shards(4, 40)  # 10 batches each: 40 seconds once
    run = RunSettings(batch_size=BATCH, time_budget_minutes=60 / 0.9 / 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", lambda *_, **__: iter([([shard], 0.0) for shard in parts]))
        patch.setattr(inference, "elapsed", lambda: clock[0])
        predictor = Predictor(members, BENGALI, run, total_images=160, on_problem=no_problem)
        tables = list(predictor.predict_files(unread(1)))
    assert [len(table) for table in tables] == [40] * 4
    assert clock[0] <= 60
    assert members[1].network.seen


def test_an_image_is_answered_by_whoever_has_a_finite_answer() -> None:
    (shard,) = shards(1, 5)

    class Half(Network):
        odd = 0

        def predict_on_batch(self, images: Any) -> dict[str, Any]:
            answers = super().predict_on_batch(images)
            for answer in answers.values():
                answer[self.odd :: 2] = np.nan
            return answers

    members = [Half([0.0]), Half([0.0])]
    members[1].odd = 1
    run = RunSettings(batch_size=BATCH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", lambda *_, **__: iter([([shard], 0.0)]))
        both = [Member(network, MODEL, lambda answers: answers) for network in members]
        predictor = Predictor(both, BENGALI, run, total_images=5, on_problem=no_problem)
        (table,) = predictor.predict_files(unread(1))
    grey = shard.images.mean(axis=(1, 2, 3)).astype(int)
    assert table["vowel_diacritic"].tolist() == (grey % 11).tolist()


def test_the_network_s_speed_is_measured_on_whole_batches_after_the_one_that_compiles_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (shard,) = shards(1, 3)
    clock = [0.0]
    network = Network(clock)  # a second per batch but for the first
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0] / 100)
    assert images_per_second(network, shard.images, BATCH) == pytest.approx(100 * BATCH)
    assert network.calls == 1 + MEASURED_BATCHES
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert images_per_second(network, shard.images, BATCH) == pytest.approx(BATCH)
    assert network.calls == 1 + MEASURED_BATCHES + 1 + 2  # two seconds of it are enough


def test_the_stages_say_what_reading_and_the_network_took() -> None:
    clock = [0.0]
    parts = shards(2, 6)

    def crops_ahead(*_: Any, **__: Any) -> Iterator[tuple[list[Shard], float]]:
        yield from (([shard], 3.0) for shard in parts)

    run = RunSettings(batch_size=BATCH, test_time_copies=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", crops_ahead)
        patch.setattr(inference, "elapsed", lambda: clock[0])
        members = [Member(Network(clock), MODEL, lambda answers: answers, JITTER)]
        predictor = Predictor(members, BENGALI, run, total_images=12, on_problem=no_problem)
        list(predictor.predict_files(unread(2)))
    assert str(predictor.stages) == "read and crop 12 images of 2 files in 6.00 s; network 24 images in 8.00 s"


def test_an_image_file_that_cannot_be_read_counts_as_lost() -> None:
    (shard,) = shards(1, 5)
    damaged = replace(shard, unreadable=["Test_5", "Test_6", "Test_7"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", lambda *_, **__: iter([([damaged], 0.0)]))
        members = [Member(Network([0.0]), MODEL, lambda answers: answers)]
        run = RunSettings(batch_size=BATCH)
        predictor = Predictor(members, BENGALI, run, total_images=8, on_problem=no_problem)
        (table,) = predictor.predict_files(unread(1))
    assert table.index.tolist() == list(shard.ids)
    assert predictor.images_attempted == 8


class Failing(Network):
    """Raises an error for batches that are larger than the device takes, or that hold a certain image."""

    def __init__(self, error: Exception, most: int = 10**9, image: bytes = b"") -> None:
        super().__init__([0.0])
        self.error, self.most, self.image, self.batches = error, most, image, list[int]()

    def predict_on_batch(self, images: Any) -> dict[str, Any]:
        self.batches.append(len(images))
        if len(images) > self.most or self.image in {image.tobytes() for image in images}:
            raise self.error
        return self._answers(images)


def predict_with(networks: list[Any], parts: list[Shard], **settings: Any) -> tuple[list[pd.DataFrame], list[str]]:
    """Return the tables of two files, and what was said of problems."""
    problems: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", lambda *_, **__: iter([([shard], 0.0) for shard in parts]))
        members = [Member(network, MODEL, lambda answers: answers, JITTER) for network in networks]
        run = RunSettings(batch_size=BATCH, **settings)
        predictor = Predictor(
            members, BENGALI, run, total_images=12, on_problem=lambda problem, _: problems.append(problem)
        )
        return list(predictor.predict_files(unread(2))), problems


FULL = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 268435456 bytes.")


def test_out_of_memory_predicting_goes_on_with_half_the_batch_size(capsys: pytest.CaptureFixture[str]) -> None:
    parts = shards(2, 6)
    network = Failing(FULL, most=2)
    tables, problems = predict_with([network], parts)
    assert network.batches == [4, 2, *[2] * 6]
    assert not problems
    assert "warning: the device is out of memory; from here on in batches of 2\n" in capsys.readouterr().out
    for table, expected in zip(tables, predict_with([Network([0.0])], parts)[0], strict=True):
        assert table.equals(expected)


def test_out_of_memory_again_and_any_other_failure_cost_the_rest_of_their_file() -> None:
    parts = shards(2, 6)
    fifth = parts[0].images[4].tobytes()
    for error, batches in ((FULL, [4, 4, 4, 2, *[2] * 3]), (ValueError("odd"), [4, 4, 4, 4, 4])):
        network = Failing(error, image=fifth)
        tables, problems = predict_with([network], parts)
        assert [list(table.index) for table in tables] == [list(parts[0].ids[:4]), list(parts[1].ids)]
        assert problems == [f"the network failed on image 5 of 6: {error}"]
        assert network.batches == batches


def test_a_member_or_a_copy_that_fails_costs_no_image_its_answer() -> None:
    parts = shards(2, 6)
    expected = predict_with([Network([0.0])], parts)[0]
    tables, problems = predict_with([Network([0.0]), Failing(ValueError("odd"), most=0)], parts)
    assert problems == [
        "the network failed on image 1 of 1: odd",  # as it is compiled
        *["the network failed on image 1 of 6: odd"] * 2,
    ]
    assert all(table.equals(other) for table, other in zip(tables, expected, strict=True))


def test_where_the_first_member_fails_another_answers() -> None:
    parts = shards(2, 6)
    expected = predict_with([Network([0.0])], parts)[0]
    fifth = parts[0].images[4].tobytes()
    for failing in (Failing(ValueError("odd"), most=0), Failing(ValueError("odd"), image=fifth)):
        tables, problems = predict_with([failing, Network([0.0])], parts, test_time_copies=1)
        assert {problem.split(": ")[1] for problem in problems} == {"odd"}
        assert all(list(table.index) == list(shard.ids) for table, shard in zip(tables, parts, strict=True))
    assert tables[0].equals(expected[0])


def test_a_member_that_failed_once_is_tried_again_with_the_next_file(capsys: pytest.CaptureFixture[str]) -> None:
    parts = shards(2, 6)
    second = Failing(ValueError("odd"), image=parts[0].images[0].tobytes())
    predict_with([Network([0.0]), second], parts, time_budget_minutes=1000)
    assert second.batches == [BATCH, BATCH, BATCH, BATCH]  # as it is compiled, where it fails, and the next file's two
    assert "left out" not in capsys.readouterr().out


def test_images_of_a_file_that_is_lost_are_not_waited_for() -> None:
    """The time that they would have taken is left for copies."""
    clock = [0.0]
    network, parts = Network(clock), shards(2, 8)

    def crops_ahead(*_: Any, on_error: Any, **__: Any) -> Iterator[tuple[list[Shard], float]]:
        yield [parts[0]], 0.0
        on_error(UserError("cut off"))
        yield [parts[1]], 0.0

    run = RunSettings(batch_size=BATCH, test_time_copies=1, time_budget_minutes=6.5 / 0.9 / 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "crops_ahead", crops_ahead)
        patch.setattr(inference, "elapsed", lambda: clock[0])
        members = [Member(network, MODEL, lambda answers: answers, JITTER)]
        predictor = Predictor(members, BENGALI, run, total_images=24, on_problem=lambda *_: None)
        tables = list(predictor.predict_files(unread(3)))
    assert [len(table) for table in tables] == [8, 8]
    assert network.seen == 6  # two batches of each file, and a copy of the last one's
