"""Random draws, each from a generator of its own, seeded by what it is for: (seed, purpose, epoch, shard, batch).

So no random state is ever kept, batches can be made in any order or in parallel, and the same batch always comes out
the same.
"""

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """What random numbers are for; each purpose has its own stream."""

    SPLIT = 0
    SHARD_ORDER = 1
    ROW_ORDER = 2
    BATCH = 3
    TEST_COPY = 4
    FOLDS = 5
    FURTHER_IMAGES = 6


def random_for(seed: int, purpose: Draw, epoch: int = 0, shard: int = 0, batch: int = 0) -> np.random.Generator:
    """Return the generator of one purpose at one place of the training."""
    return np.random.default_rng([seed, purpose, epoch, shard, batch])
