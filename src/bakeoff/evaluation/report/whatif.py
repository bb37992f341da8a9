"""What the page needs to recompute the choice and the bills for other prices, as one JSON value."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from typing import Any

from bakeoff.evaluation import recommend, stats
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.costs import SAME, WORSE
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.prices import BUSY
from bakeoff.evaluation.recommend import Recommendation


def what_if(comparison: Comparison, recommendation: Recommendation, accounts: Accounts) -> dict[str, Any]:
    """Rows of the table, paired differences between those that ran to the end, the price book and the constants."""
    book = accounts.book
    trained = comparison.machine.get("build_seconds", {})
    rows = []
    for row in comparison.table():
        bill, cost = accounts.bills[row.system], row.cost
        rows.append(
            {
                "system": row.system,
                "eligible": row.system in comparison.eligible,
                "inside": bool(row.metrics[comparison.primary])
                and row.system in comparison.eligible
                and row.system not in recommendation.outside,
                "wrong": bill.wrong,
                "computed": cost.computed,
                "means": [cost.fresh, cost.cached, cost.output, cost.measured],
                "training": trained.get(row.system, 0.0) + accounts.drafting_seconds(row.system),
                "indexing": accounts.indexing_seconds if bill.indexing else 0.0,
                "labelling": bill.labelling,
                "refresh": bill.refresh_seconds or 0.0,
                "trained": row.system in trained,
                "score": comparison.mean(row.system),
            }
        )
    return {
        "rows": rows,
        "gaps": {f"{a}\n{b}": _gap(comparison, a, b) for a, b in combinations(comparison.running, 2)},
        "delta": recommendation.delta,
        "hour": book.hour,
        "utilisation": book.utilisation,
        "busy": BUSY,
        "models": {system: asdict(tokens) for system, tokens in book.models.items()},
        "said": book.said,
        "questions": book.questions,
        "changes": book.changes,
        "wrong": book.wrong,
        "z": stats.Z,
        "power": stats.Z_POWER,
        "level": stats.LEVEL,
        "doubt": recommend.DOUBT_ERRORS,
        "same": SAME,
        "worse": WORSE,
    }


def _gap(comparison: Comparison, a: str, b: str) -> list[float] | None:
    found = comparison.difference(a, b)
    if found is None:
        return None
    interval = found.interval
    return [interval.estimate, interval.low, interval.high, interval.n, found.p]
