"""Seeded strokes: the shape of a class, always the same."""

import numpy as np
from numpy.typing import NDArray


def strokes_of(kind: int, label: int, box: tuple[float, float, float, float]) -> list[NDArray[np.float64]]:
    """Return the strokes of one class, float (points, 2) in pixels, always the same for (kind, label)."""
    rng = np.random.default_rng([kind, label])
    left, top, right, bottom = box
    strokes = []
    for _ in range(2 if kind in (1, 2) else 3):
        corners = rng.uniform((left, top), (right, bottom), (3, 2))
        t = np.linspace(0, 1, 12)[:, None]
        strokes.append((1 - t) ** 2 * corners[0] + 2 * t * (1 - t) * corners[1] + t**2 * corners[2])
    return strokes
