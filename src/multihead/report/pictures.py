"""Pictures as PNG: sheets of small images, and figures. matplotlib takes a second to import, so only drawing does."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from multihead.data.crop import Image, in_colour, scaled_size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200
WIDTH = 1120  # pixels of every picture; a page shows it smaller, and then its letters must still be readable
FONT_SIZE = 11.5  # points
MARGIN = 12
LINE_HEIGHT = 42
CHARACTER_WIDTH = 19.0
FRAME = 205  # the gray around each image, many of which are as white as the sheet


class Row(NamedTuple):
    """One row of a sheet: what stands above it, its images (None leaves a place empty), and what stands below each."""

    title: str
    images: Sequence[Image | None]
    captions: Sequence[str] = ()


def sheet(rows: Sequence[Row], columns: int, *, titles_left: bool = False) -> bytes:
    """Return rows of images as one PNG, so many to its width; titles_left: in a column of their own, not above."""
    first = columns if titles_left else 0
    cell = (WIDTH - MARGIN) // (columns + titles_left * 2) - MARGIN
    scaled = [[None if image is None else _fit(image, cell) for image in row.images] for row in rows]
    above = [LINE_HEIGHT if row.title and not titles_left else 0 for row in rows]
    lines = [max((caption.count("\n") + 1 for caption in row.captions), default=0) for row in rows]
    tall = [
        max((len(image) for image in images if image is not None), default=LINE_HEIGHT if titles_left else 0)
        for images in scaled
    ]
    below = [LINE_HEIGHT * count + MARGIN for count in lines]
    tops = np.cumsum([MARGIN, *(sum(parts) for parts in zip(above, tall, below, strict=True))])
    canvas = np.full((int(tops[-1]), WIDTH, 3), 255, np.uint8)
    left = MARGIN + (2 * (cell + MARGIN) if first else 0)
    with _style():
        figure = new_figure(len(canvas))
        for row, images, top, title, height in zip(rows, scaled, tops.tolist(), above, tall, strict=False):
            width = 2 * cell if titles_left and row.images else WIDTH - 2 * MARGIN
            place = top + (height if titles_left else LINE_HEIGHT) / 2
            written = "\n".join(shortened(line, width) for line in row.title.split("\n"))
            _write(figure, len(canvas), MARGIN, place, written, va="center")
            for number, image in enumerate(images):
                x, y = left + number * (cell + MARGIN), top + title
                if image is not None:
                    canvas[y - 2 : y + len(image) + 2, x - 2 : x + image.shape[1] + 2] = FRAME
                    canvas[y : y + len(image), x : x + image.shape[1]] = image
                if row.captions:
                    caption = "\n".join(shortened(line, cell) for line in row.captions[number].split("\n"))
                    _write(figure, len(canvas), x, y + height + MARGIN / 2, caption, va="top")
        figure.figimage(canvas)
        return png(figure)


def new_figure(height: float) -> "Figure":
    """Return an empty figure, WIDTH pixels wide and so many high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((WIDTH / DOTS_PER_INCH, height / DOTS_PER_INCH), DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def drawing(height: float) -> "Iterator[Figure]":
    """Give a figure whose axes share its height, in the style of all pictures; `png` takes it before this ends."""
    with _style():
        figure = new_figure(height)
        figure.set_layout_engine("constrained")
        yield figure


def png(figure: "Figure") -> bytes:
    """Return a figure as the bytes of a PNG file."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]
    is_gray = (pixels == pixels[:, :, :1]).all()
    pixels = pixels[:, :, 0] if is_gray else np.ascontiguousarray(pixels[:, :, ::-1])
    small = (cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT)
    return cv2.imencode(".png", pixels, small)[1].tobytes()


def shortened(text: str, width: float) -> str:
    """Return a text, cut to about so many pixels."""
    most = max(2, int(width / CHARACTER_WIDTH))
    return text if len(text) <= most else f"{text[: most - 1]}…"


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    style = {"font.size": FONT_SIZE, "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a class in a script that it has no letters of; tables have it
        yield


def _write(figure: "Figure", height: int, x: float, y: float, text: str, **how: Any) -> None:
    """Put a text at pixels counted from the top left."""
    figure.text(x / WIDTH, 1 - y / height, text, ha="left", **how)


def _fit(image: Image, width: int) -> Image:
    """Return an image in colour whose longer side is so many pixels."""
    scale = width / max(image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(in_colour(image), scaled_size(image, scale), interpolation=how), np.uint8)
