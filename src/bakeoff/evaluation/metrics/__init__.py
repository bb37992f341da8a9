"""One file a metric, and the file's name is the metric's.

A file exposes `score(example, answer)`: from 0 to 1, higher is better, None where there is nothing to score. Further
`ABOUT` (one line), `VERSION` (raised whenever scores would change), and `NAME` where it is shown under another name.
A metric with options also exposes `make(folder, *, ...)`, which returns what scores: its keyword-only parameters are
the keys of `[metrics.<name>]`, and `folder` is the project's.
A metric of a label task that no single answer has also exposes `pooled(counts)`, of how often (right label, reply)
occurred: the score of all together, from `LEAST` (0 unless it says so) to 1. Its `score` gives None; it cannot decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bakeoff import plugins
from bakeoff.errors import ConfigError
from bakeoff.evaluation.metrics._labels import Counts
from bakeoff.types import Metric


@dataclass(frozen=True, slots=True)
class Scoring:
    """A metric, ready to score."""

    name: str
    """As it is shown, such as `ndcg@10`."""
    version: int
    score: Metric
    model: str = ""
    """Whose opinion the score is, where a model was asked."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A metric of all answers together."""

    score: Callable[[Counts], float]
    least: float


def pooled(metrics: Iterable[str]) -> dict[str, Pooled]:
    """Those of `metrics` that are of all answers together; a plug-in that is no longer installed is none."""
    known = {name: plugins.module("metrics", name) for name in set(metrics) & set(plugins.names("metrics"))}
    return {
        name: Pooled(module.pooled, getattr(module, "LEAST", 0.0))
        for name, module in known.items()
        if hasattr(module, "pooled")
    }


def check_deciding(metrics: Sequence[str | Scoring]) -> None:
    """Raise `ConfigError` where the first of `metrics` can call no single answer right or wrong."""
    first = metrics[0] if metrics else ""
    if isinstance(first, str) and pooled([first]):
        raise ConfigError(
            f"the metric {first!r} is of all answers together, and the first one has to call each right or wrong: "
            f'write metrics = ["exact", "{first}"]'
        )


def scoring(metric: str | Scoring) -> Scoring:
    """The metric of this name; one that was built already stays. Raises `UnknownNameError`."""
    if isinstance(metric, Scoring):
        return metric
    module = plugins.module("metrics", metric)
    return Scoring(getattr(module, "NAME", metric), getattr(module, "VERSION", 1), module.score)
