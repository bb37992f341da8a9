"""One file a metric, and the file's name is the metric's.

A file exposes `score(example, answer)`: from 0 to 1, higher is better, None where there is nothing to score. Further
`ABOUT` (one line), `VERSION` (raised whenever scores would change), and `NAME` where it is shown under another name.
A metric with options also exposes `make(folder, *, ...)`, which returns what scores: its keyword-only parameters are
the keys of `[metrics.<name>]`, and `folder` is the project's.
"""

from __future__ import annotations

from dataclasses import dataclass

from bakeoff import plugins
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


def scoring(metric: str | Scoring) -> Scoring:
    """The metric of this name; one that was built already stays. Raises `UnknownNameError`."""
    if isinstance(metric, Scoring):
        return metric
    module = plugins.module("metrics", metric)
    return Scoring(getattr(module, "NAME", metric), getattr(module, "VERSION", 1), module.score)
