"""What all figures share: greys, dashes and hatches instead of colours, a line of provenance, two files for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_agentcap.text import printable
from pytest_agentcap.tracestats.model import Trace

GREYS = ("0.0", "0.55", "0.3", "0.7", "0.15", "0.45", "0.8")
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 3)), (0, (8, 2, 1, 2)))
MARKERS = ("o", "x", "s", "+", "^", "v", "D")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "+++")
_INCHES = (7.2, 4.4)
_INCHES_A_ROW = 0.5
_DPI = 150
_LABEL_CHARS = 40
_SOURCES_NAMED = 3


class PlotsError(ValueError):
    """Say in one line why nothing can be drawn."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Hold a figure that is to be drawn: its file's name, its title, how to draw it, and what it counts.

    `draw` is given matplotlib's axes. `rows` is how many labelled rows it has: the figure is as high as they need.
    """

    name: str
    title: str
    draw: Callable[[Any], None]
    counted: str
    rows: int = 0


def series(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Give each name a place in the lists of greys, dashes, markers and hatches, which differ in length of use."""
    return ((name, at % len(GREYS)) for at, name in enumerate(names))


def label(text: str | None) -> str:
    """Shorten captured text for a label; matplotlib would set what stands between dollar signs as a formula."""
    shown = " ".join(printable(text or "not told").split()).replace("$", r"\$")
    return shown if len(shown) <= _LABEL_CHARS else shown[: _LABEL_CHARS - 1] + "…"


def source_of(traces: Sequence[Trace]) -> str:
    """Name where traces are from."""
    places = list(dict.fromkeys(trace.place for trace in traces))
    named = ", ".join(label(place[-_LABEL_CHARS:]) for place in places[:_SOURCES_NAMED])
    more = len(places) - _SOURCES_NAMED
    return f"{named} and {more} more" if more > 0 else named


def save(plot: Plot, source: str, folder: Path) -> list[Path]:
    """Draw a figure and write it as PNG and SVG; the same data gives the same files.

    Raises PlotsError without matplotlib.
    """
    matplotlib, figures = _matplotlib()
    written = []
    with matplotlib.rc_context({"svg.hashsalt": "agentcap", "svg.fonttype": "none", "hatch.linewidth": 0.6}):
        size = (_INCHES[0], max(_INCHES[1], _INCHES_A_ROW * (plot.rows + 2)))
        figure = figures.Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        plot.draw(axes)
        axes.set_title(plot.title)
        axes.spines[["top", "right"]].set_visible(False)
        figure.supxlabel(f"{plot.counted} · source: {source}", fontsize=7, color="0.3")
        for suffix in ("png", "svg"):
            path = folder / f"{plot.name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}")
            figure.savefig(temporary, format=suffix, dpi=_DPI, metadata={"Date": None} if suffix == "svg" else None)
            temporary.replace(path)
            written.append(path)
    return written


def _matplotlib() -> tuple[Any, Any]:
    try:
        import matplotlib
        from matplotlib import figure
    except ImportError as error:
        raise PlotsError(f"plots need matplotlib ({error}): pip install 'pytest-agentcap[plots]'") from None
    return matplotlib, figure
