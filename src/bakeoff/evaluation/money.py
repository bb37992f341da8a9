"""What systems cost in dollars: each question, what was built before the first, and to follow a change of a document.

A question to an endpoint costs its tokens at the prices of the model; one to a model on your own machine costs the
seconds that it is busy, at the price of an hour, divided by the share of the time in which it has work. Evaluation is a
ledger of its own: it is no part of what any system costs.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from bakeoff.evaluation import stats
from bakeoff.evaluation.costs import WORSE
from bakeoff.evaluation.prices import BUSY, Book
from bakeoff.evaluation.stats import Interval

if TYPE_CHECKING:
    from bakeoff.evaluation.comparison import Comparison, Row

EQUAL = 1e-9
"""Costs that differ by less than this share are the same."""
Refresh = Literal["indexing", "training", "nothing"]
"""What a system needs to follow a change of the documents."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What one system costs, in dollars."""

    system: str
    question: float
    """Computed: measured tokens or seconds at the prices of the book."""
    band: tuple[float, float]
    """The same at the utilisations of `BUSY`; of an endpoint, which bills tokens, no band."""
    per_right: float | None
    """For each right answer; None where none is right."""
    training: float
    indexing: float
    drafting: float
    """Of the questions that it learnt from, where a model drafted them."""
    labelling: float
    """People's time for them."""
    refresh: float | None
    """To follow a change of one document: index it again, or train again; None where it was not measured."""
    refresh_by: Refresh
    refresh_seconds: float | None
    upkeep: float
    """To follow all changes over its life."""
    wrong: float
    """Share of questions that it does not answer rightly."""

    @property
    def build(self) -> float:
        return self.training + self.indexing + self.drafting + self.labelling

    def at(self, questions: float, wrong: float) -> float:
        """Dollars a question with its share of what was built and refreshed, and what wrong answers cost."""
        return self.question + (self.build + self.upkeep) / questions + wrong * self.wrong


@dataclass(frozen=True, slots=True)
class Payback:
    """After how many questions what a system saves on each has paid for what it cost more to build."""

    system: str
    other: str
    build: float
    """Dollars to build it, less those to build the other."""
    saving: Interval
    """Dollars less a question, its share of following the documents counted."""
    gap: float
    """Its score less that of the other: what is saved may be no saving."""

    @property
    def worthless(self) -> bool:
        """Whether it is so much worse that it is no cheaper way to the same."""
        return self.gap < -WORSE

    @property
    def questions(self) -> tuple[float | None, float | None, float | None]:
        """Estimate, earliest and latest within the 95% interval; None is never, 0 from the first question on."""
        return self._after(self.saving.estimate), self._after(self.saving.high), self._after(self.saving.low)

    def _after(self, saving: float) -> float | None:
        if self.build <= 0:
            return 0.0 if saving >= 0 else None
        return self.build / saving if saving > 0 else None


@dataclass(frozen=True, slots=True)
class Worth:
    """The values of a wrong answer between which a system is the cheapest, wrong answers counted."""

    system: str
    low: float
    below: str
    """Which is cheapest where a wrong answer costs less than `low`; empty where `low` is 0."""
    high: float | None
    """None: without end."""
    above: str


class Accounts:
    """The bills of a run by one price book."""

    def __init__(self, comparison: Comparison, book: Book) -> None:
        self._comparison = comparison
        self.book = book

    @cached_property
    def bills(self) -> dict[str, Bill]:
        """System -> bill, best system first."""
        return {row.system: self._bill(row) for row in self._comparison.table()}

    @property
    def dollars(self) -> dict[str, float]:
        """System -> dollars a question."""
        return {system: bill.question for system, bill in self.bills.items()}

    @property
    def indexing_seconds(self) -> float:
        """Seconds to index what the index holds, at the mean of the documents read so far; 0 where none was noted."""
        effort = self._comparison.machine.get("effort", {})
        documents = effort.get("documents", 0)
        return float(effort["indexing"] / documents * effort.get("held", documents)) if documents else 0.0

    def drafting_seconds(self, system: str) -> float:
        """The share of all drafting that made the questions from which a system learnt."""
        machine = self._comparison.machine
        effort, lessons = machine.get("effort", {}), machine.get("lessons", {}).get(system, 0)
        return float(effort["drafting"] * lessons / effort["examples"]) if effort.get("examples") else 0.0

    @cached_property
    def paybacks(self) -> list[Payback]:
        """Each system that was trained against the best that was not, of those that may be shipped."""
        trained = self._comparison.machine.get("build_seconds", {})
        plain = [name for name in self.bills if name in self._comparison.eligible and name not in trained]
        found = [self._payback(system, plain[0]) for system in self.bills if plain and system in trained]
        return [one for one in found if one]

    def worth(self, system: str) -> Worth | None:
        """When `system` is the cheapest, wrong answers counted; None where it is so at no value of a wrong answer."""
        mine, low, high, below, above = self.bills[system], 0.0, None, "", ""
        for name in self._comparison.eligible:
            other = self.bills[name]
            costs = mine.at(self.book.questions, 0), other.at(self.book.questions, 0)
            # Equal costs may differ in their last digit.
            dearer = costs[0] - costs[1] if abs(costs[0] - costs[1]) > EQUAL * costs[0] else 0.0
            better = other.wrong - mine.wrong
            if better > 0 and dearer / better > low:
                low, below = dearer / better, name
            elif better < 0 and (high is None or dearer / better < high):
                high, above = dearer / better, name
            elif better == 0 and dearer > 0:
                return None
        return Worth(system, low, below, high, above) if high is None or low <= high else None

    def words(self, system: str) -> str:
        """Dollars for a thousand questions, with the band of idle time."""
        bill = self.bills[system]
        low, high = (dollars(1000 * end) for end in bill.band)
        return f"{dollars(1000 * bill.question)} for 1,000 questions" + (f" [{low}, {high}]" if low != high else "")

    def flips(self, system: str) -> list[str]:
        """At which values of a wrong answer another would be the cheapest, wrong answers counted."""
        found, asked = self.worth(system), f"over {self.book.questions:,.0f} questions"
        if found is None:
            return [f"only cost counts: {asked}, another is cheaper whatever a wrong answer costs"]
        ends = [("less", found.low, found.below), ("more", found.high, found.above)]
        return [
            f"a wrong answer costs {how} than {dollars(end)}: then {name} ({asked})" for how, end, name in ends if name
        ]

    def evaluation(self) -> float:
        """Dollars that the answers of this run took, and people's time for its questions."""
        asked = sum(self.book.price(trial.system, trial.answer.usage) for trial in self._comparison.trials)
        return asked + self.book.example * len(self._comparison.examples)

    def to_json(self) -> dict[str, Any]:
        """Every figure in dollars, with what it is; prices in the book's own units."""
        book = self.book
        return {
            "prices": {
                "device_hour": {"value": book.hour, "tag": "given" if book.hour_said else "assumed"},
                "utilisation": {"value": book.utilisation, "tag": "assumed"},
                "questions": {"value": book.questions, "tag": "assumed"},
                "changes": {"value": book.changes, "tag": "assumed"},
                "wrong_answer": {"value": book.wrong, "tag": "assumed"},
                "models": {system: asdict(tokens) for system, tokens in book.models.items()},
                "unknown": dict(book.unknown),
            },
            "systems": {
                system: {
                    "question": {"value": bill.question, "band": bill.band, "tag": "computed"},
                    "right_answer": {"value": bill.per_right, "tag": "computed"},
                    "training": {"value": bill.training, "tag": "computed"},
                    "indexing": {"value": bill.indexing, "tag": "computed"},
                    "drafting": {"value": bill.drafting, "tag": "computed"},
                    "labelling": {"value": bill.labelling, "tag": "assumed"},
                    "refresh": {
                        "value": bill.refresh,
                        "by": bill.refresh_by,
                        "seconds": bill.refresh_seconds,
                        "tag": "computed",
                    },
                    "upkeep": {"value": bill.upkeep, "tag": "computed"},
                    "total": {"value": bill.at(book.questions, book.wrong), "tag": "computed"},
                }
                for system, bill in self.bills.items()
            },
            "break_even": [
                {**asdict(one), "questions": one.questions, "worthless": one.worthless} for one in self.paybacks
            ],
            "evaluation": {"value": self.evaluation(), "tag": "computed"},
        }

    def _bill(self, row: Row) -> Bill:
        machine, book, system = self._comparison.machine, self.book, row.system
        settings = self._comparison.run.get("settings", {}).get(system, {})
        trained = machine.get("build_seconds", {}).get(system)
        cost = row.cost
        question = book.dollars(system, cost.fresh, cost.cached, cost.output, cost.measured)
        idle = 0.0 if system in book.models else book.utilisation
        band = (question * idle / BUSY[0], question * idle / BUSY[1]) if idle else (question, question)
        right = row.right.estimate if row.right else 0.0
        following, by = self._refresh(system, settings)
        refresh = None if following is None else book.device(following)
        return Bill(
            system=system,
            question=question,
            band=band,
            per_right=question / right if right else None,
            training=book.device(trained or 0.0),
            indexing=book.device(self.indexing_seconds) if "corpus" in settings else 0.0,
            drafting=book.device(self.drafting_seconds(system)),
            labelling=book.example * machine.get("lessons", {}).get(system, 0),
            refresh=refresh,
            refresh_by=by,
            refresh_seconds=following,
            upkeep=book.changes * (refresh or 0.0),
            wrong=1 - right,
        )

    def _refresh(self, system: str, settings: Any) -> tuple[float | None, Refresh]:
        """Seconds to follow a change of one document; of indexing as `bakeoff freshness` timed it, where it did."""
        machine, timed = self._comparison.machine, self._comparison.freshness.get(system)
        effort = machine.get("effort", {})
        if "corpus" in settings:
            documents = effort.get("documents", 0)
            usual = effort["indexing"] / documents if documents else None
            return (timed.indexing() if timed and timed.turns else usual), "indexing"
        if settings.get("tuned"):
            # Runs of before did not note the last training alone.
            return machine.get("retraining", machine.get("build_seconds", {})).get(system), "training"
        return 0.0, "nothing"

    def _payback(self, system: str, other: str) -> Payback | None:
        mine, theirs = (
            {
                trial.example_id: self.book.price(name, trial.answer.usage)
                for trial in self._comparison.trials
                if trial.system == name and not trial.error and trial.alone
            }
            for name in (system, other)
        )
        ids = [id for id in self._comparison.examples if id in mine and id in theirs]
        groups = self._comparison.groups(ids)
        if len(set(groups)) < 2:
            return None
        # Changes come as time goes by, so that each question bears its share of them.
        upkeep = (self.bills[other].upkeep - self.bills[system].upkeep) / self.book.questions
        saved = stats.mean_interval([theirs[id] - mine[id] + upkeep for id in ids], groups)
        gap = self._comparison.mean(system) - self._comparison.mean(other)
        return Payback(system, other, self.bills[system].build - self.bills[other].build, saved, gap)


def dollars(value: float | None) -> str:
    """Three digits: $0.00042, $1.24, $1,240; `-` for what is not known."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"${value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"${value:,.{digits}f}"
