"""The page of a project's comparisons over time: what was found when, and how each system fared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from bakeoff.evaluation.history import Entry, changes
from bakeoff.evaluation.report import policy_hash
from bakeoff.evaluation.report.numbers import percent, span
from bakeoff.evaluation.report.plots import quality_axis
from bakeoff.files import write_atomically

WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 10, 24


@dataclass(frozen=True, slots=True)
class Dot:
    """A system in one comparison, in user units."""

    x: float
    y: float
    high: float
    low: float
    best: bool
    says: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One system over time."""

    system: str
    dots: list[Dot]
    lines: list[str]
    """SVG points; like runs are joined, unlike ones are not."""
    says: str


def write(entries: Sequence[Entry], folder: Path) -> Path:
    """Write `history.html` into `folder`, newest first; needs no script and loads nothing."""
    ordered = list(entries)
    axis = quality_axis(end for one in ordered for score in one.systems.values() for end in (score.low, score.high))
    environment = Environment(
        loader=PackageLoader("bakeoff.evaluation.report", ""), autoescape=True, undefined=StrictUndefined
    )
    style = (files("bakeoff.evaluation.report") / "report.css").read_text(encoding="utf-8")
    text = environment.get_template("history.html.j2").render(
        rows=list(zip(ordered, changes(ordered), strict=True))[::-1],
        panels=list(_panels(ordered, lambda value: _y(axis.at(value)))),
        ticks=[(_y(at), label) for at, label in axis.ticks],
        breaks=[
            round((_x(place, len(ordered)) + _x(place + 1, len(ordered))) / 2, 1)
            for place in range(len(ordered) - 1)
            if not ordered[place].like(ordered[place + 1])
        ],
        ends=[ordered[0].when[:10], ordered[-1].when[:10]],
        size=(WIDTH, HEIGHT),
        frame=(LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM),
        style=style,
        style_hash=policy_hash(style),
    )
    write_atomically(folder / "history.html", text.encode(errors="replace"))
    return folder / "history.html"


def _panels(entries: list[Entry], y: Callable[[float], float]) -> Iterator[Panel]:
    names = dict.fromkeys(name for one in reversed(entries) for name in one.systems)
    for name in names:
        dots: list[Dot] = []
        lines: list[str] = []
        line: list[str] = []
        for place, one in enumerate(entries):
            score = one.systems.get(name)
            if line and (score is None or not one.like(entries[place - 1])):
                lines.append(" ".join(line))
                line = []
            if score is None:
                continue
            x = _x(place, len(entries))
            says = f"{one.when}, {one.run}: {percent(score.estimate)} {span(score.low, score.high)}"
            dots.append(Dot(x, y(score.estimate), y(score.high), y(score.low), name in one.best, says))
            line.append(f"{x:g},{y(score.estimate):g}")
        yield Panel(name, dots, [*lines, *([" ".join(line)] if line else [])], "; ".join(dot.says for dot in dots))


def _x(place: int, count: int) -> float:
    return round(LEFT + 12 + (place + 0.5 * (count == 1)) / max(1, count - 1) * (WIDTH - LEFT - RIGHT - 24), 1)


def _y(position: float) -> float:
    return round(HEIGHT - BOTTOM - position * (HEIGHT - TOP - BOTTOM), 1)
