"""What the tests of the way to a score have at Kaggle."""

import hashlib
import json

from multihead.config.manifest import FORMAT
from tests.kaggle_standin import USER

COMPETITION = "bengaliai-cv19"
TRAIN, PREDICT, WEIGHTS = (f"{USER}/multihead-{name}" for name in ("train", "predict", "weights"))
MANIFEST = {
    "format": FORMAT,
    "images_per_second": 1234.5,
    "device": "Tesla T4",
    "model": {"backbone": "narrow"},
    "epoch": 3,
    "score": {"name": "R", "total": 0.5},
    "sha256": hashlib.sha256(b"weights").hexdigest(),
}
TRAINED = {"model.weights.h5": b"weights", "manifest.json": json.dumps(MANIFEST).encode(), "history.csv": b"epoch\n"}
OUTPUT = TRAINED | {"report/index.html": b"<!doctype html>"}
