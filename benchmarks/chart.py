"""Speed against error, ours and stock, as an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = {"DER": "#d55e00", "cpWER": "#0088cc", "WDER": "#009e73"}
GREY = "#767676"  # as readable on white as on black


def points(found: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """Error -> way -> speed factor and error in per cent, on the conversation that both were timed on."""
    if "speed" not in found:
        return {}
    ways = found["speed"]["data"]["ways"]
    found = {
        error: {
            way: (each["speed_factor"], 100 * each["rates"][error])
            for way, each in ways.items()
            if each["rates"] and each["rates"][error] is not None
        }
        for error in COLOURS
    }
    return {error: by_way for error, by_way in found.items() if by_way}


def draw(by_error: Mapping[str, Mapping[str, tuple[float, float]]], path: Path) -> None:
    """An SVG without a background, in colours that can be told from white and from black."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator

    mpl.rcParams |= {"svg.hashsalt": "diarist", "text.color": GREY, "axes.edgecolor": GREY, "axes.labelcolor": GREY,
                     "xtick.color": GREY, "ytick.color": GREY, "font.size": 11}  # fmt: skip
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for error, by_way in by_error.items():
        axes.plot(*zip(*by_way.values(), strict=True), color=COLOURS[error], linewidth=1.2)
        for way, (speed, value) in by_way.items():
            fill = COLOURS[error] if way == "ours" else "none"
            axes.plot(speed, value, "o", markersize=8, color=COLOURS[error], markerfacecolor=fill)
    for way, side in (("stock", "right"), ("ours", "left")):
        here = {error: by_way[way] for error, by_way in by_error.items() if way in by_way}
        for (error, (speed, value)), height in zip(here.items(), _apart([y for _, y in here.values()]), strict=True):
            offset = -9 if side == "right" else 9
            axes.annotate(f"{way} {error} {value:.1f} %", (speed, height), (offset, 0), textcoords="offset points",
                          ha=side, va="center", color=COLOURS[error])  # fmt: skip
    axes.set(xscale="log", xlabel="seconds of audio for each second of work, start-up included", ylabel="error, %")
    axes.set_xticks([0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    speeds, errors = zip(*(point for by_way in by_error.values() for point in by_way.values()), strict=True)
    axes.set(xlim=(min(speeds) / 7, max(speeds) * 7), ylim=(0, 1.12 * max(errors) + 0.1))  # room for the labels
    axes.grid(visible=True, color=GREY, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)


def _apart(heights: Sequence[float]) -> list[float]:
    """Where labels go, so that none covers another: in order, each at least a line above the one below."""
    line = max(heights, default=0) / 16
    placed: dict[int, float] = {}
    for index in sorted(range(len(heights)), key=lambda index: heights[index]):
        placed[index] = max(heights[index], max(placed.values(), default=-line) + line)
    return [placed[index] for index in range(len(heights))]
