"""What the held-out images say of a network: its score, and what is chosen on them to answer with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.data.answers import Answers
from multihead.data.crop_store import CropStore
from multihead.data.targets import is_known, truth_of
from multihead.prediction.calibration import Calibration
from multihead.prediction.deciding import decided
from multihead.prediction.predictor import images_per_second, predict_probabilities
from multihead.prediction.tuning import choose
from multihead.runtime.errors import UserError
from multihead.runtime.log import log
from multihead.scoring.metrics import Score, is_seen, task_score
from multihead.training.images import TrainingImages
from multihead.training.record import HeldOut


class Validated(NamedTuple):
    """What the held-out images say of the network.

    score: with what is chosen on the same images (prediction/tuning.py), `chosen`. plain: without. unseen: of those
    whose label combination is in no train image; None where there are none. Few have every class, so it is told over
    the classes present. held_out: the images, and what it says of each. probabilities: the same before anything is
    done to them.
    """

    score: Score
    plain: Score
    unseen: Score | None
    chosen: Calibration
    held_out: HeldOut
    probabilities: Mapping[str, NDArray[np.float32]]

    def __str__(self) -> str:
        unseen = f", {self.unseen.present_total:.4f} unseen" if self.unseen else ""
        what = "with the prior left in" if any(self.chosen.exponents.values()) else "with nothing chosen"
        plain = f", {self.plain.total:.4f} {what}" if self.plain.total != self.score.total else ""
        return f"{self.score}{plain}{unseen}"

    @property
    def columns(self) -> dict[str, float]:
        """The scores as columns of history.csv."""
        return {
            "score": self.score.total,
            **self.score.heads,
            "score_with_prior": self.plain.total,
            **({"score_present": self.score.present_total} if any(self.score.absent.values()) else {}),
            **({"score_unseen": self.unseen.present_total} if self.unseen else {}),
        }


class Validator:
    """Asks a network for the held-out images.

    answers_per_second: images that the network alone answers on this device; None until it was first asked.
    """

    def __init__(self, images: TrainingImages, batch_size: int) -> None:
        self._images, self._batch_size = images, batch_size
        self.answers_per_second: float | None = None

    def validate(self, network: Any, store: CropStore, epoch: int) -> Validated:
        """Return what the stored held-out images say of a network in an epoch, from 1.

        Raises FloatingPointError for answers that are not finite, UserError where no held-out image is stored, or none
        that has a label of a head.
        """
        task, counts = self._images.task, self._images.train_counts
        held_out = self._answer(network, store)
        truth, probabilities = held_out.truth, held_out.probabilities
        for head, of_head in truth.items():
            if not is_known(of_head).any():
                raise UserError(f"none of the {len(of_head):,} held-out images that were read has a label of {head}")
        if not all(np.isfinite(rows).all() for rows in probabilities.values()):
            raise FloatingPointError(f"epoch {epoch}: the network's answers are not finite")
        chosen = choose(task, probabilities, truth, counts)
        adjusted = chosen.heads_alone(probabilities, counts, task.kinds)
        answers, plain = chosen.decided(adjusted, task), decided(probabilities, task)

        def score(answered: Answers, rows: Any = slice(None)) -> Score:
            some, true = ({head: of[rows] for head, of in part.items()} for part in (answered, truth))
            return task_score(true, some, task)

        unseen = None
        if task.is_of_classes:
            is_whole = np.all([is_known(of_head) for of_head in truth.values()], axis=0)
            is_unseen = is_whole & ~is_seen(pd.DataFrame(truth), self._images.train_labels)
            unseen = score(answers, is_unseen) if is_unseen.any() else None
        held_out = held_out._replace(probabilities=adjusted, answers=answers)
        reached = score(answers)
        is_same = all(np.array_equal(plain[head], answers[head]) for head in task.heads)
        return Validated(reached, reached if is_same else score(plain), unseen, chosen, held_out, probabilities)

    def validate_so_far(self, network: Any, store: CropStore, epoch: int) -> Validated | None:
        """Return what validate does; None where no held-out image, or no label of a head, is stored so far, or the
        answers are not finite.
        """
        if not any(self._images.is_held_out(store.load(number).ids).any() for number in store.numbers()):
            return None
        try:
            return self.validate(network, store, epoch)
        except (FloatingPointError, UserError) as error:
            log.warning(str(error))
            return None

    def _answer(self, network: Any, store: CropStore) -> HeldOut:
        """Return the held-out images that are stored, and what the network says of them."""
        task = self._images.task
        heads = list(task.heads)
        ids: list[str] = []
        places: list[tuple[int, int]] = []
        parts, truth = [], []
        for number in store.numbers():
            shard = store.load(number)
            rows = np.flatnonzero(self._images.is_held_out(shard.ids))
            ids += [shard.ids[row] for row in rows.tolist()]
            places += [(number, row) for row in rows.tolist()]
            parts.append(predict_probabilities(network, shard.images[rows], self._batch_size, task.kinds))
            truth.append(truth_of({head: (shard.labels or {})[head][rows] for head in heads}, task))
            if len(rows) and not self.answers_per_second:
                self.answers_per_second = images_per_second(network, shard.images[rows], self._batch_size)
        if not ids:
            raise UserError("none of the images to validate with is in the train files; are some files missing?")

        def crop(number: int) -> NDArray[np.uint8]:
            shard, row = places[number]
            return np.asarray(store.load(shard).images[row])

        return HeldOut(
            ids,
            {head: np.concatenate([part[head] for part in truth]) for head in heads},
            {head: np.concatenate([part[head] for part in parts]) for head in heads},
            crop,
            task,
            {},
        )
