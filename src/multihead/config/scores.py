"""What a head may say of an image, what is answered with it, and the scores of such answers."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Kind = Literal["softmax", "sigmoid", "ordinal", "number"]
Rule = Literal["", "prior exponents", "thresholds", "cut points", "temperature"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ONE_OF = ("softmax", "ordinal")  # the kinds of which an image has just one class
OF_CLASSES = (*ONE_OF, "sigmoid")
LABEL, PROBABILITY, RANKING, LABELS, NUMBERS = "label", "probability", "ranking", "labels", "number"
ANSWERS = (LABEL, PROBABILITY, f"{RANKING} 5", LABELS, NUMBERS)  # of a ranking, any number of classes
_RANKING = re.compile(r"(?:ranking |MAP@)([1-9][0-9]{0,3})")


class ScoreKind(NamedTuple):
    """A score.

    answers: for each kind of head that it may be of, what is answered. rule: what is chosen on images that the network
    was not trained on, to turn what it says into such answers. is_loss: whether the least is the best. name: in
    messages, where it has a shorter one.
    """

    answers: Mapping[str, str]
    rule: Rule = ""
    is_loss: bool = False
    name: str = ""


_OF_LABELS = dict.fromkeys(ONE_OF, LABEL)
_OF_SETS = {"sigmoid": LABELS}
_OF_PROBABILITIES = dict.fromkeys(OF_CLASSES, PROBABILITY)
_OF_NUMBERS = {"number": NUMBERS}
_BY_NAME: Mapping[str, ScoreKind] = {
    "accuracy": ScoreKind(_OF_LABELS),
    "balanced accuracy": ScoreKind(_OF_LABELS, "prior exponents"),
    "macro recall": ScoreKind(_OF_LABELS, "prior exponents", name="R"),
    "F1 macro": ScoreKind(_OF_LABELS | _OF_SETS, "thresholds"),  # of one class an image, prior exponents
    "F1 micro": ScoreKind(_OF_SETS, "thresholds"),
    "F1 samples": ScoreKind(_OF_SETS, "thresholds"),
    "log loss": ScoreKind(_OF_PROBABILITIES, "temperature", is_loss=True),
    "ROC AUC": ScoreKind(_OF_PROBABILITIES),
    "ROC AUC weighted": ScoreKind(_OF_PROBABILITIES),
    "average precision": ScoreKind(_OF_PROBABILITIES),
    "quadratic kappa": ScoreKind(_OF_LABELS, "cut points"),
    "RMSE": ScoreKind(_OF_NUMBERS, is_loss=True),
    "MAE": ScoreKind(_OF_NUMBERS, is_loss=True),
    "R2": ScoreKind(_OF_NUMBERS),
}
_OF_ANSWER = {PROBABILITY: "log loss", LABELS: "F1 samples", NUMBERS: "RMSE"}  # where a task names none
SCORES = (*_BY_NAME, "MAP@5")  # of a ranking, any number of classes


def is_score(name: str) -> bool:
    """Tell whether a score of that name is known."""
    return name in _BY_NAME or bool(_RANKING.fullmatch(name) and name.startswith("MAP"))


def is_answer(name: str) -> bool:
    """Tell whether that is something to answer with."""
    return name in ANSWERS or bool(_RANKING.fullmatch(name) and name.startswith(RANKING))


def score_kind(name: str) -> ScoreKind:
    """Return the score of a name for which is_score is true."""
    ranked = ranked_classes(name)
    return ScoreKind(dict.fromkeys(OF_CLASSES, f"{RANKING} {ranked}")) if ranked else _BY_NAME[name]


def rule_of(score: str, kind: str) -> Rule:
    """Return what is chosen for a head of that kind, "" for nothing."""
    known = score_kind(score)
    if known.rule == "thresholds" and kind in ONE_OF:
        return "prior exponents"
    return known.rule if kind in known.answers else ""


def score_name(score: str) -> str:
    """Return what a score is called in messages."""
    return score_kind(score).name or score


def ranked_classes(name: str) -> int:
    """Return how many classes a ranking or its score is of, 0 for another answer or score."""
    found = _RANKING.fullmatch(name)
    return int(found[1]) if found else 0


def score_of_answer(answer: str, kind: str) -> str:
    """Return the score of a task that names only what it answers with, or nothing."""
    ranked = ranked_classes(answer)
    by_kind = {"number": "RMSE", "sigmoid": "F1 samples"}.get(kind, "accuracy")
    return f"MAP@{ranked}" if ranked else _OF_ANSWER.get(answer, by_kind)
