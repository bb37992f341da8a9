"""How well the answer metrics agree with people: EVOUNA, 5 systems on Natural Questions and TriviaQA.

    python benchmarks/metric_agreement.py <folder with evouna/NQ.json and evouna/TQ.json>

The data (Apache-2.0) are those of "Evaluating Open-QA Evaluation": github.com/wangcunxiang/QA-Eval.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, rankdata

from bakeoff.evaluation.stats import wilson
from bakeoff.plugins import get
from bakeoff.types import Answer, Example, Metric

METRICS = ("exact", "f1", "recall")
SYSTEMS = ("fid", "gpt35", "chatgpt", "gpt4", "newbing")
RIGHT = 0.5


def main() -> None:
    """Print a table, a line for each set and metric."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "metric_labels")
    paths = [folder / "evouna" / f"{name}.json" for name in ("NQ", "TQ")]
    if not all(path.is_file() for path in paths):
        print(f"skipped: there is no {paths[0]} and {paths[1].name}; give the folder that holds them")
        return
    print(f"{'set':<4} {'metric':<7} {'n':>6} {'AUC':>6} {'accuracy':>21} {'kappa':>6} {'tau':>6}")
    for path in paths:
        asked = [row for row in json.loads(path.read_text()) if not row["improper"]]
        rows = [(system, row) for row in asked for system in SYSTEMS if row[f"answer_{system}"] is not None]
        right = np.array([row[f"judge_{system}"] for system, row in rows], dtype=bool)
        names = np.array([system for system, _ in rows])
        for metric in METRICS:
            score = get("metrics", metric)
            scores = np.array([_score(score, row, system) for system, row in rows])
            called = scores >= RIGHT
            agreed = wilson(int((called == right).sum()), len(right))
            accuracy = f"{agreed.estimate:.3f} [{agreed.low:.3f}, {agreed.high:.3f}]"
            tau = kendalltau(_means(scores, names), _means(right, names)).statistic
            kappa = _kappa(called, right)
            figures = f"{_auc(scores, right):>6.3f} {accuracy} {kappa:>6.3f} {tau:>6.2f}"
            print(f"{path.stem:<4} {metric:<7} {len(right):>6} {figures}")


def _score(metric: Metric, row: dict[str, str], system: str) -> float:
    example = Example("", row["question"], tuple(row["golden_answer"].split("/")))
    return metric(example, Answer(row[f"answer_{system}"])) or 0.0


def _auc(scores: np.ndarray, right: np.ndarray) -> float:
    ranks = rankdata(scores)
    positive, negative = int(right.sum()), int((~right).sum())
    return float((ranks[right].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _kappa(called: np.ndarray, right: np.ndarray) -> float:
    chance = called.mean() * right.mean() + (1 - called.mean()) * (1 - right.mean())
    return float(((called == right).mean() - chance) / (1 - chance))


def _means(values: np.ndarray, names: np.ndarray) -> Sequence[float]:
    return [float(values[names == system].mean()) for system in SYSTEMS]


if __name__ == "__main__":
    main()
