"""Curves as SVG, in the colours of the page that holds them. Only drawing imports matplotlib, which takes a second."""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multihead.report.run import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"  # stands for the colour of the page's text, which is light on a dark page
INCHES = 7.2  # wide; a page scales it


def learning_curves(history: History, heads: Sequence[str], saved: int | None) -> str:
    """Return loss, score and learning rate over the epochs. saved: the place of the epoch whose weights were saved."""

    def draw(figure: "Figure") -> None:
        loss, score, rate = figure.subplots(3, sharex=True, height_ratios=(3, 3, 2))
        epochs = history["epoch"]
        lines = {"loss": [(head, f"{head}_loss") for head in heads], "score": [(head, head) for head in heads]}
        lines["score"].append(("classes present", "score_present"))
        for axes, total in ((loss, "loss"), (score, "score")):
            axes.plot(epochs, history[total], ".-", color=INK, label="all heads")
            for name, key in lines[total] if len(heads) > 1 else ():
                if key in history:
                    axes.plot(epochs, history[key], ".-", label=name, linewidth=1)
            axes.set_ylabel(total)
        if len(heads) > 1:
            figure.legend(*score.get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False)
        rate.plot(epochs, history["learning_rate"], ".-", color=INK)
        rate.set(ylim=(0, None), ylabel="learning rate", xlabel="epoch")
        for axes in (loss, score, rate):
            if saved is not None:
                axes.axvline(epochs[saved], color="0.5", linestyle=":")
            axes.grid(alpha=0.3)

    return _svg(draw, "learning", 6.4)


def speed_curves(history: History) -> str:
    """Return images a second and the memory of the process over the epochs."""
    lines = [("images_per_second", "images a second"), ("memory_gb", "memory (GB)")]
    lines = [(key, name) for key, name in lines if key in history]

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(len(lines), sharex=True, squeeze=False)[:, 0]
        for axes, (key, name) in zip(grid, lines, strict=True):
            axes.plot(history["epoch"], history[key], ".-", color=INK)
            axes.set(ylim=(0, 1.1 * np.nanmax(history[key]) or 1), ylabel=name)
            axes.grid(alpha=0.3)
        grid[-1].set_xlabel("epoch")

    return _svg(draw, "speed", 2.0 * len(lines))


def calibration_curve(head: str, bins: NDArray[np.float64], *, is_of_sets: bool = False) -> str:
    """Return the share of right answers against their probability, from Record.calibration of a head."""
    names = (
        ("probability of a class", "share that has it")
        if is_of_sets
        else ("probability of the answer", "share that is right")
    )

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        images, probability, right = bins[bins[:, 0] > 0].T
        axes.plot((0, 1), (0, 1), color="0.5", linestyle=":")
        axes.plot(probability / images, right / images, color=INK, linewidth=1)
        axes.scatter(
            probability / images,
            right / images,
            8 + 200 * images / images.sum(),
            color="#c0453d",
            zorder=3,
            clip_on=False,
        )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel=names[0], ylabel=names[1])
        axes.grid(alpha=0.3)

    return _svg(draw, f"calibration {head}", 3.2, 3.6)


def number_points(head: str, points: Sequence[tuple[float, float]]) -> str:
    """Return the answers of some held-out images against their truth, from Numbers.points of a head."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        truth, answer = np.array(points).T
        least, most = min(truth.min(), answer.min()), max(truth.max(), answer.max())
        axes.plot((least, most), (least, most), color="0.5", linestyle=":")
        axes.scatter(truth, answer, 10, color="#c0453d", alpha=0.5, linewidths=0, zorder=3)
        axes.set(xlabel="truth", ylabel="predicted")
        axes.grid(alpha=0.3)

    return _svg(draw, f"numbers {head}", 4.2, 4.6)


def _svg(draw: "Callable[[Figure], None]", name: str, height: float, width: float = INCHES) -> str:
    """Return a drawn figure as an element of HTML. name: what its inner ids are made of, none other's on the page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    style: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False, "font.size": 9.5}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK)
    style |= {"axes.spines.top": False, "axes.spines.right": False, "legend.labelcolor": INK}
    with mpl.rc_context(style):
        figure = Figure((width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        for axes in figure.axes:
            if axes.get_xlabel() in ("", "epoch"):
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>drawing-{name.encode().hex()}-", svg)
    return re.sub(r'(<svg [^>]*?)width="[\d.]+pt" height="[\d.]+pt"', r"\1", svg, count=1)
