"""From probabilities to classes where every class counts the same: the train counts' prior is divided out.

A network learns how often a class is; macro-averaged recall asks for each as if all were as often. Dividing each
probability by its class's train count to the power e, before argmax, takes the frequency back out.

A. K. Menon et al., Long-tail Learning via Logit Adjustment, 2021 (post-hoc).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import ONE_OF, Kind

Probabilities = Mapping[str, NDArray[np.float32]]
NO_KINDS: Mapping[str, Kind] = {}


def adjusted(probabilities: NDArray[np.float32], counts: Sequence[int], exponent: float) -> NDArray[np.float32]:
    """Return float32 (n, classes) probabilities / counts**exponent, each row summing up to 1 again.

    A class without train images keeps no probability, unless the exponent is 0: nothing was learned of it.
    """
    divisors = np.asarray(counts, np.float64) ** exponent
    factors = np.divide(1, divisors, out=np.zeros_like(divisors), where=divisors > 0)
    weighted = probabilities * (factors / factors.max()).astype(np.float32)
    return np.asarray(weighted / np.maximum(weighted.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny))


def adjusted_heads(
    probabilities: Probabilities,
    counts: Mapping[str, Sequence[int]],
    exponents: Mapping[str, float],
    kinds: Mapping[str, Kind] = NO_KINDS,
) -> dict[str, NDArray[np.float32]]:
    """Return what `adjusted` does of each head of one class an image; the others have no prior to divide out.

    kinds: Task.kinds, of the heads that are not softmax.
    """
    return {
        head: adjusted(rows, counts[head], exponents[head]) if kinds.get(head, "softmax") in ONE_OF else rows
        for head, rows in probabilities.items()
    }
