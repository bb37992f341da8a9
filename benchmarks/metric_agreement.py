"""How well the metrics agree with people, on public labels, beside the figures that our research found.

    make bench-agreement DATA=folder

Correct or not: EVOUNA (Apache-2.0), five systems on Natural Questions and TriviaQA. Supported by the context or not:
BEGIN's development sets. HaluEval's labels come without the passages that a support metric would need.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bakeoff.evaluation.agreement import Agreement, agreement, answered, read_labelled
from bakeoff.evaluation.metrics import recall
from bakeoff.evaluation.stats import Interval, wilson

sys.path.insert(0, str(Path(__file__).parent))
from results import publish, table

CORRECT = ("exact", "f1", "recall")
WRITTEN_DOWN = {
    ("NQ", "exact"): ".58, .39, tau -.74",
    ("NQ", "f1"): ".89, .42, tau -.20",
    ("NQ", "recall"): ".93, .89, tau +.60",
    ("TQ", "exact"): ".63, .36, tau -.60",
    ("TQ", "f1"): ".91, .43, tau -.40",
    ("TQ", "recall"): ".97, .94, tau +1.00",
    ("begin tc", "support"): ".90 to .97",
    ("begin wow", "support"): ".90 to .97",
    ("begin cmu", "support"): ".90 to .97",
}
"""AUC, accuracy and rank correlation that a first measurement, with its own code, found."""


def main() -> None:
    """Measure, print, and write the table into docs/results.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    sets = {
        **{name: data / "metric_labels" / "evouna" / f"{name}.json" for name in ("NQ", "TQ")},
        **{f"begin {name}": data / "begin_dev" / f"begin_dev_{name}.tsv" for name in ("cmu", "tc", "wow")},
    }
    rows = []
    for name, path in sets.items():
        labelled, _ = read_labelled(path)
        for metric in CORRECT if name in ("NQ", "TQ") else ("support",):
            found = agreement(labelled, metric)
            assert found, (name, metric)
            rows.append(line(name, metric, found))
            print(" | ".join(rows[-1]), flush=True)
    bare, _ = read_labelled(data / "halueval" / "general_data.json")
    assert agreement(bare, "support") is None
    asked = [replace(row, answer=answered(row.answer.text, [row.example.question])) for row in bare]
    as_passage = agreement(asked, "support")
    assert as_passage
    rows.append(line("halueval, the question as its passage", "support", as_passage))
    head = (
        "labels",
        "metric",
        "n",
        "AUC",
        "agrees, right from 0.5",
        "threshold of the other half",
        "kappa",
        "tau",
        "earlier",
    )
    pairs = preferences(data / "metric_labels" / "ragchecker" / "human_labeled_data.json")
    publish("agreement", f"{table(head, rows)}\n\n{pairs}\n\n`make bench-agreement DATA=...`; no model is involved.")


def line(name: str, metric: str, found: Agreement) -> list[str]:
    """A row of the table."""
    assert found.auc
    return [
        name,
        metric,
        f"{found.n:,}",
        _three(found.auc),
        _three(found.accuracy),
        f"{_three(found.tuned)} at {found.thresholds[0]:.2f}, {found.thresholds[1]:.2f}",
        f"{found.kappa:.2f}",
        f"{found.tau.estimate:+.2f} [{found.tau.low:+.2f}, {found.tau.high:+.2f}]" if found.tau else "-",
        WRITTEN_DOWN.get((name, metric), "-"),
    ]


def preferences(path: Path) -> str:
    """How often recall of a long reference prefers the answer that both annotators prefer."""
    pairs: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(path.read_text(encoding="utf-8")):
        pairs.setdefault(row["instance_id"], []).append(row)
    agreed = [pair for pair in pairs.values() if len({_sign(row["overall_label"]) for row in pair} | {0}) == 2
              and all(row["overall_label"] for row in pair)]  # fmt: skip
    preferred = []
    for pair in agreed:
        first = pair[0]
        second, one = (recall.recall(first[model]["response"], first["gt_answer"]) for model in ("model2", "model1"))
        preferred.append(_sign(second - one) == _sign(first["overall_label"]))
    share = wilson(sum(preferred), len(preferred))
    return (
        f"Long references (RAGChecker's human preferences): of {len(agreed)} pairs that both annotators order alike, "
        f"recall orders {100 * share.estimate:.0f}% [{100 * share.low:.0f}, {100 * share.high:.0f}] as they do."
    )


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _three(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


if __name__ == "__main__":
    main()
