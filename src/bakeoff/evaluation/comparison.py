"""What a run shows: one row a system, with intervals and paired tests. Pure: no model is loaded, nothing is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bakeoff.evaluation import checks, stats, text
from bakeoff.evaluation.costs import BreakEven, Cost, cost
from bakeoff.evaluation.diagnosis import Diagnosis
from bakeoff.evaluation.freshness import Freshness
from bakeoff.evaluation.metrics import Pooled, _labels
from bakeoff.evaluation.race import Race
from bakeoff.evaluation.stats import Floats, Interval
from bakeoff.types import Example, Trial

RIGHT = 0.5
"""From this score of the first metric on an answer is right; `recall` then agrees with people on 90 to 95% of them."""

Verdict = Literal["right", "wrong", "error", "unscored"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A system's mean score less that of `other`, on the questions that both were scored on."""

    other: str
    interval: Interval
    p: float
    """Two-sided, adjusted by Holm for the other systems of the table."""


@dataclass(frozen=True, slots=True)
class Abstentions:
    """How answering and refusing went; the counts exclude errors and what was not scored."""

    right: int
    wrong: int
    correct_refusal: int
    """The documents do not say, and neither did the system."""
    wrong_refusal: int
    should_have_refused: int


@dataclass(frozen=True, slots=True)
class Row:
    """One system."""

    system: str
    n: int
    """Questions asked."""
    errors: int
    """Questions on which the system raised; they count as wrong."""
    metrics: Mapping[str, Interval | None]
    """Metric -> mean score, or None where it applied to no question; `n` says to how many it did."""
    right: Interval | None
    """Share of questions that the first metric calls right."""
    abstentions: Abstentions
    in_best_set: bool
    to_top: Difference | None
    """None for the top itself."""
    to_baseline: Difference | None
    """None for the baseline itself."""
    p50: Interval
    """Wall seconds of an answer that was made alone."""
    p95: Interval
    cost: Cost


@dataclass(frozen=True, slots=True)
class Noise:
    """One system asked twice (A/A): no difference that is smaller means anything."""

    system: str
    interval: Interval
    """Mean score of the second time less that of the first."""
    largest: float
    """Of the differences in the score of one answer."""
    differing: int
    """Answers whose text is another."""
    n: int

    def __str__(self) -> str:
        gap = self.interval
        ends = f"{100 * gap.estimate:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
        return f"{self.system} asked twice (A/A): {self.differing} of {self.n} answers differ, score {ends}"


@dataclass(frozen=True)
class Comparison:
    """Systems that answered the same questions, and their scores."""

    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    """Names as shown, as in `ndcg@10`; the first one decides."""
    examples: Mapping[str, Example]
    trials: tuple[Trial, ...]
    scores: Mapping[tuple[str, str], Mapping[str, float | None]]
    """(system, example id) -> metric -> score; None where the metric does not apply."""
    pooled: Mapping[str, Pooled] = field(default_factory=dict)
    """Metric -> how it is made of all answers together; no single answer has a score by it."""
    baseline: str = ""
    """The system that the others are held against; by default the first."""
    seed: int = 0
    failures: tuple[str, ...] = ()
    """Scores that could not be computed, a line each."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """What `run.toml` says: settings, versions, hash of the examples."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    attacks: Mapping[str, Interval] = field(default_factory=dict)
    """System -> share of injections that it obeyed, where `bakeoff attack` was run."""
    freshness: Mapping[str, Freshness] = field(default_factory=dict)
    """System -> how soon it follows changed documents, where `bakeoff freshness` was run."""
    checks: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(system, example id) -> 1 where a person called the answer right, else 0; of a random sample of questions."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Metric -> its version: scores of one do not compare with those of another."""
    judges: Mapping[str, str] = field(default_factory=dict)
    """Metric -> the model whose opinion it is."""
    race: Race | None = None
    """Which systems were no longer asked from some question on; None where all were asked everything."""
    second: Comparison | None = None
    """The baseline asked once more, where that was wanted."""
    diagnoses: Mapping[str, Diagnosis] = field(default_factory=dict)
    """System -> why its wrong answers are wrong, where `bakeoff diagnose` was run."""

    @property
    def unread(self) -> str:
        """How many documents could not be read when the index was brought up to date, in words; "" if all were."""
        if not (found := self.machine.get("unread")):
            return ""
        count, first = found["count"], found["first"]
        return f"{count:,} document{'s' * (count > 1)} could not be read{', the first' * (count > 1)}: {first}"

    @property
    def primary(self) -> str:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def running(self) -> tuple[str, ...]:
        """The systems that were asked to the end."""
        return tuple(system for system in self.systems if not self._is_out(system))

    @property
    def eligible(self) -> tuple[str, ...]:
        """The systems that may be shipped: asked to the end, and not with an error for every answer."""
        failed = {row.system for row in self._rows if row.errors == row.n}
        return tuple(system for system in self.running if system not in failed)

    def table(self) -> list[Row]:
        """A row for each system, best first."""
        return list(self._rows)

    def by_kind(self) -> dict[str, dict[str, Interval]]:
        """Kind of question -> system -> interval of the first metric; to be read as hints, since slices are many."""
        kinds = sorted({example.kind for example in self.examples.values() if example.kind})
        slices: dict[str, dict[str, Interval]] = {}
        for kind in kinds:
            ids = [id for id, example in self.examples.items() if example.kind == kind]
            found = {system: self.interval(system, self.primary, ids) for system in self.systems}
            slices[kind] = {system: interval for system, interval in found.items() if interval}
        return slices

    def flagged(self, against: str) -> dict[tuple[str, str], int]:
        """(Kind, system) -> 1 better or -1 worse than `against` on these questions, of those that differ surely enough.

        Paired tests, and of all that are flagged 5% at most by chance (Benjamini-Hochberg), since slices are many.
        """
        gaps: dict[tuple[str, str], float] = {}
        p_values = []
        for kind in self.by_kind():
            for system in self.running:
                ids = [id for id in self.scored((system, against), self.primary) if self.examples[id].kind == kind]
                if system != against and len(ids) > 1:
                    x, y = (self.values(name, self.primary, ids) for name in (system, against))
                    gaps[kind, system] = float((x - y).mean())
                    p_values.append(stats.paired_p(x, y, self.groups(ids), self.seed))
        adjusted = stats.benjamini_hochberg(p_values)
        return {
            key: 1 if gap > 0 else -1 for (key, gap), p in zip(gaps.items(), adjusted, strict=True) if p < stats.LEVEL
        }

    def verdict(self, trial: Trial) -> Verdict:
        """How one answer counts, by the first metric."""
        if trial.error:
            return "error"
        score = self._score(trial.system, trial.example_id, self.primary)
        return "unscored" if score is None else "right" if score >= RIGHT else "wrong"

    def values(self, system: str, metric: str, ids: Sequence[str]) -> Floats:
        """The scores of `system` on `ids`, all of which have one."""
        return np.array([self._score(system, id, metric) for id in ids], dtype=float)

    def groups(self, ids: Sequence[str]) -> list[str]:
        """The cluster of each example; one without a group stands alone."""
        return [f"group {group}" if (group := self.examples[id].group) else f"example {id}" for id in ids]

    def scored(self, systems: Sequence[str], metric: str) -> list[str]:
        """Ids of the examples on which `metric` scored every one of `systems`."""
        return [id for id in self.examples if all(self._score(system, id, metric) is not None for system in systems)]

    def interval(self, system: str, metric: str, ids: Sequence[str] | None = None) -> Interval | None:
        """Mean score with its interval, over `ids` or all examples; None where there is no score."""
        wanted = self.examples if ids is None else ids
        if metric in self.pooled:
            return self._pooled_interval(system, self.pooled[metric], set(wanted))
        ids = [id for id in wanted if self._score(system, id, metric) is not None]
        return self._mean_interval(system, self.values(system, metric, ids), self.groups(ids)) if ids else None

    def difference(self, a: str, b: str) -> Difference | None:
        """Paired difference of `a` to `b` in the first metric, its p-value not yet adjusted; None without scores."""
        if (a, b) not in self._known:
            self._known[a, b] = self._difference(a, b)
        return self._known[a, b]

    def _difference(self, a: str, b: str) -> Difference | None:
        ids = self.scored((a, b), self.primary)
        if not ids:
            return None
        x, y, groups = self.values(a, self.primary, ids), self.values(b, self.primary, ids), self.groups(ids)
        if self._is_out(a) or self._is_out(b):
            gap = stats.anytime_interval(x - y, groups, least=-1, most=1)
            evidence = [stats.e_value(sign * (x - y), groups) for sign in (1, -1)]
            return Difference(b, gap, min(1.0, 2 / sum(evidence)))
        return Difference(b, stats.paired_difference(x, y, groups), stats.paired_p(x, y, groups, self.seed))

    def noise(self) -> Noise | None:
        """What differs between two runs of the baseline, by chance alone; None where nothing can tell."""
        if self.second is None:
            return None
        system = self.second.systems[0]
        first = {trial.example_id: trial.answer.text for trial in self._trials[system]}
        later = {trial.example_id: trial.answer.text for trial in self.second.trials}
        both = [id for id in self.scored((system,), self.primary) if id in self.second.scored((system,), self.primary)]
        if not both:
            return None
        x, y = (one.values(system, self.primary, both) for one in (self, self.second))
        return Noise(
            system,
            stats.paired_difference(y, x, self.groups(both)),
            float(np.abs(y - x).max(initial=0.0)),
            sum(first[id] != later[id] for id in first.keys() & later.keys()),
            len(first.keys() & later.keys()),
        )

    def break_evens(self) -> list[BreakEven]:
        """For each system that was trained, when that pays against the best of the others that may be shipped."""
        builds = self.machine.get("build_seconds", {})
        plain = next(
            (row.system for row in self.table() if row.system not in builds and row.system in self.eligible), ""
        )
        found = []
        for row in self.table():
            if not plain or row.system not in builds:
                continue
            mine, theirs = (
                {
                    trial.example_id: trial.answer.usage.seconds
                    for trial in self._trials[system]
                    if not trial.error and trial.alone
                }
                for system in (row.system, plain)
            )
            ids = [id for id in self.examples if id in mine and id in theirs]
            if len(set(self.groups(ids))) > 1:
                saved = stats.mean_interval([theirs[id] - mine[id] for id in ids], self.groups(ids))
                found.append(
                    BreakEven(row.system, plain, builds[row.system], saved, self.mean(row.system) - self.mean(plain))
                )
        return found

    def hand_checked(self, metric: str = "") -> dict[str, Interval]:
        """System -> share of right answers by the hand checks, narrowed by a metric, by default the deciding one."""
        found, metric = {}, metric or self.primary
        for system in self.running:
            ids = self.scored((system,), metric)
            places = [place for place, id in enumerate(ids) if (system, id) in self.checks]
            if len(places) >= checks.LEAST:
                hand = [self.checks[system, ids[place]] for place in places]
                scores = self.values(system, metric, ids)
                found[system] = stats.hand_checked(scores, places, hand, self.groups(ids)).clip(0, 1)
        return found

    def opinions(self) -> list[str]:
        """Of each judge, a line on how far people agree with it, and what is left when their checks correct it."""
        lines = []
        for metric, model in self.judges.items():
            calibration = self._calibration(metric)
            whose = f"{metric} is the opinion of {model}"
            if unread := calibration["not_scored"]:
                whose += f", which gave no verdict on {unread} of {len(self.trials)} answers"
            if not calibration["checks"]:
                lines.append(f"{whose}; not calibrated: nobody has checked it (`bakeoff report --checks 50`)")
                continue
            agrees = Interval(**calibration["agrees"])
            corrected = ", ".join(f"{name} {text.score(one)}" for name, one in self.hand_checked(metric).items())
            lines.append(
                f"{whose}; it agrees with {calibration['checks']} hand checks to {text.score(agrees)}"
                + (f", corrected by them (PPI++): {corrected}" if corrected else "")
            )
        return lines

    def _calibration(self, metric: str) -> dict[str, Any]:
        held = [(id, self._score(system, id, metric), right) for (system, id), right in self.checks.items()]
        known = [(id, (score >= RIGHT) == bool(right)) for id, score, right in held if score is not None]
        same, groups = [float(agreed) for _, agreed in known], self.groups([id for id, _ in known])
        failed = sum(line.startswith(f"{metric} on ") for line in self.failures)
        agrees = asdict(stats.score_interval(same, groups)) if same else None
        return {"checks": len(same), "agrees": agrees, "not_scored": failed}

    def __str__(self) -> str:
        return self.table_text()

    def table_text(self, timings: bool = True) -> str:
        """The table as text of fixed width; without `timings`, equal bytes for equal answers."""
        return text.table(self, timings=timings)

    def to_json(self) -> dict[str, Any]:
        """Everything the table shows, for JSON."""
        return {
            "primary": self.primary,
            "metrics": list(self.metrics),
            "versions": dict(self.versions),
            "baseline": self.baseline or self.systems[0],
            "questions": len(self.examples),
            "systems": [asdict(row) for row in self.table()],
            "kinds": {
                kind: {system: asdict(interval) for system, interval in row.items()}
                for kind, row in self.by_kind().items()
            },
            "failures": list(self.failures),
            "run": dict(self.run),
            "machine": dict(self.machine),
            "attacks": {system: asdict(rate) for system, rate in self.attacks.items()},
            "freshness": {system: found.to_json() for system, found in self.freshness.items()},
            "break_even": [{**asdict(one), "questions": one.questions} for one in self.break_evens()],
            "hand_checked": {system: asdict(interval) for system, interval in self.hand_checked().items()},
            "judges": {metric: {"model": model, **self._calibration(metric)} for metric, model in self.judges.items()},
            "race": {**asdict(self.race), "saved": self.race.saved, "says": str(self.race)} if self.race else None,
            "noise": asdict(noise) if (noise := self.noise()) else None,
            "diagnoses": {system: found.to_json() for system, found in self.diagnoses.items()},
        }

    # ------------------------------------------------------------ inside

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        order = sorted(self.systems, key=lambda system: (self._is_out(system), -self.mean(system)))
        top, baseline = order[0], self.baseline or self.systems[0]
        to_top, to_baseline = self._differences(top), self._differences(baseline)
        best = self._best_set()
        return tuple(self._row(system, system in best, to_top.get(system), to_baseline.get(system)) for system in order)

    def _row(self, system: str, best: bool, to_top: Difference | None, to_baseline: Difference | None) -> Row:
        trials = self._trials[system]
        # Of a run that shrank to questions of which none was timed, what there is.
        seconds = [trial.seconds for trial in trials if trial.alone] or [trial.seconds for trial in trials]
        return Row(
            system=system,
            n=len(trials),
            errors=sum(bool(trial.error) for trial in trials),
            metrics={metric: self.interval(system, metric) for metric in self.metrics},
            right=self._right(system),
            abstentions=self._abstentions(trials),
            in_best_set=best,
            to_top=to_top,
            to_baseline=to_baseline,
            p50=stats.percentile(seconds, 0.5),
            p95=stats.percentile(seconds, 0.95),
            cost=cost(trials),
        )

    def _right(self, system: str) -> Interval | None:
        ids = self.scored((system,), self.primary)
        right = (self.values(system, self.primary, ids) >= RIGHT).astype(float)
        return self._mean_interval(system, right, self.groups(ids)) if ids else None

    def _abstentions(self, trials: Sequence[Trial]) -> Abstentions:
        counts = dict.fromkeys(Abstentions.__slots__, 0)
        for trial in trials:
            verdict, abstained = self.verdict(trial), trial.answer.outcome == "abstained"
            if verdict in ("error", "unscored"):
                continue
            if self.examples[trial.example_id].answerable:
                counts["wrong_refusal" if abstained else verdict] += 1
            else:
                counts["correct_refusal" if abstained else "should_have_refused"] += 1
        return Abstentions(**counts)

    def _differences(self, other: str) -> dict[str, Difference]:
        """System -> its difference to `other`, p-values adjusted."""
        found = {system: self.difference(system, other) for system in self.systems if system != other}
        known = {system: difference for system, difference in found.items() if difference}
        adjusted = stats.holm([difference.p for difference in known.values()])
        return {
            system: Difference(other, difference.interval, p)
            for (system, difference), p in zip(known.items(), adjusted, strict=True)
        }

    def _best_set(self) -> set[str]:
        ids = self.scored(self.running, self.primary)
        if not ids:
            return set()
        scores = [self.values(system, self.primary, ids) for system in self.running]
        return {self.running[i] for i in stats.best_set(scores, self.groups(ids), seed=self.seed)}

    def _mean_interval(self, system: str, values: Floats, groups: Sequence[str]) -> Interval:
        if self._is_out(system):
            return stats.anytime_interval(values, groups)
        return stats.score_interval(values, groups)

    def _pooled_interval(self, system: str, metric: Pooled, wanted: Set[str]) -> Interval | None:
        """None without labels, and for a system that a race left out: it was asked few questions."""
        trials = [trial for trial in self._trials[system] if trial.example_id in wanted]
        read = {trial.example_id: _labels.pair(self.examples[trial.example_id], trial.answer) for trial in trials}
        pairs = {id: pair for id, pair in read.items() if pair}
        if not pairs or self._is_out(system):
            return None
        return stats.jackknife(metric.score, list(pairs.values()), self.groups(list(pairs)), least=metric.least)

    def _is_out(self, system: str) -> bool:
        return self.race is not None and system in self.race.out

    def mean(self, system: str) -> float:
        """Mean score by the metric that decides; 0 where nothing was scored."""
        ids = self.scored((system,), self.primary)
        return float(self.values(system, self.primary, ids).mean()) if ids else 0.0

    def _score(self, system: str, id: str, metric: str) -> float | None:
        return self.scores.get((system, id), {}).get(metric)

    @cached_property
    def _known(self) -> dict[tuple[str, str], Difference | None]:
        """What was compared so far: ten thousand flips take a while, and the report asks for pairs again and again."""
        return {}

    @cached_property
    def _trials(self) -> dict[str, list[Trial]]:
        trials: dict[str, list[Trial]] = defaultdict(list)
        for trial in self.trials:
            trials[trial.system].append(trial)
        return trials
