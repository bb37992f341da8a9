"""Which system to ship: the cheapest that is as good as the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bakeoff.errors import ConfigError
from bakeoff.evaluation import stats
from bakeoff.evaluation.comparison import Comparison, Row
from bakeoff.evaluation.costs import cheaper
from bakeoff.evaluation.money import Accounts, dollars
from bakeoff.evaluation.stats import Interval
from bakeoff.evaluation.text import seconds

Confidence = Literal["CLEAR", "LEAN", "UNDECIDED"]

DOUBT = 0.25
"""A rival that should be chosen with a higher chance than this makes the choice undecided."""
DOUBT_ERRORS = stats.errors_of(DOUBT)
"""The same in standard errors."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A choice with its reasons; `str()` is one paragraph."""

    system: str | None
    """None when it is undecided."""
    confidence: Confidence
    reasons: tuple[str, ...]
    """Quality, cost and speed."""
    flips_if: tuple[str, ...]
    """What would change the choice."""
    more_questions: int | None
    """How many more would settle it, with two digits; 0 when it is settled, None when no number is likely to."""
    between: tuple[str, ...] = ()
    """The choice and its strongest rival, unless it is CLEAR."""
    delta: float = 0.03
    max_p95_seconds: float | None = None
    outside: tuple[str, ...] = ()
    """Systems beyond a limit, which are never chosen."""

    def __str__(self) -> str:
        reasons = "; ".join(self.reasons)
        if self.confidence == "UNDECIDED":
            between = f" between {' and '.join(self.between)}: {self._open()}. " if self.between else ": "
            return f"Undecided{between}{reasons}."
        head = "Ship" if self.confidence == "CLEAR" else "Lean towards"
        rival = f" It may yet be {self.between[1]}: {self._open()}." if self.between else ""
        flips = f" Flips if {'; or '.join(self.flips_if)}." if self.flips_if else ""
        return f"{head} {self.system}: {reasons}.{rival}{flips}"

    def _open(self) -> str:
        if self.more_questions is None:
            return "more questions like these are unlikely to settle it"
        return f"about {self.more_questions:,} more questions would settle it"


@dataclass(frozen=True, slots=True)
class _Rival:
    """A system that was not picked, and whether that is settled."""

    system: str
    settled: bool
    errors: float
    """By how many standard errors the difference lies on the side that would make it the choice: above 0, likely."""
    more_questions: int | None


@dataclass(frozen=True, slots=True)
class _Limit:
    """What no system may exceed."""

    most: float
    of: Callable[[Row], float]
    words: Callable[[float], str]

    def __str__(self) -> str:
        return self.words(self.most)

    def exceeded(self, row: Row) -> bool:
        return self.of(row) > self.most


@dataclass(frozen=True, slots=True)
class _Costs:
    """What a question costs each system: prompt-token equivalents, or dollars where a price is known."""

    of: Mapping[str, float]
    accounts: Accounts | None

    def cheaper(self, a: str, b: str) -> bool:
        return cheaper(self.of[a], self.of[b])

    def words(self, system: str) -> str:
        if self.accounts is None:
            return f"{self.of[system]:,.0f} prompt-token equivalents a question (computed)"
        return f"{self.accounts.words(system)} (computed)"


def recommend(
    comparison: Comparison,
    *,
    delta: float = 0.03,
    max_p95_seconds: float | None = None,
    max_dollars: float | None = None,
    max_prompt_tokens: float | None = None,
    accounts: Accounts | None = None,
) -> Recommendation:
    """The cheapest system inside all limits that is non-inferior to the top by the first metric.

    Cost is counted in prompt-token equivalents, or in dollars where `accounts` hold a price that is known or was given.
    `max_dollars` is for 1,000 questions, `max_prompt_tokens` are equivalents for one.

    Non-inferior: the lower end of its paired 95% interval against the top lies above -`delta`. Costs within a tenth
    count as equal, and then the better score decides. The confidence is about every other system inside the limits:

    CLEAR       the choice is non-inferior to each that costs as much or more, and significantly better (5%, Holm)
                than each that is cheaper
    LEAN        that is open for some, but for none is the chance above 1 in 4 that it should have been chosen: that a
                cheaper one is truly within `delta` of the choice, or another better by more than `delta`
    UNDECIDED   for some it is; no system is named

    Systems that went out of a race are not considered: they are shown to be more than its delta below another. Nor are
    those of which every answer failed. Raises `ConfigError` for a limit in dollars where no price is known or given.
    """
    rows = [row for row in comparison.table() if row.metrics[comparison.primary]]
    running = [row for row in rows if row.system in comparison.eligible]
    limits = _limits(max_p95_seconds, max_dollars, max_prompt_tokens, accounts)
    outside = tuple(row.system for row in rows if any(limit.exceeded(row) for limit in limits))
    inside = [row for row in running if row.system not in outside]
    if not inside:
        none = "every answer of every system failed" if rows else "no answer could be scored"
        reason = f"no system stays within {' and '.join(map(str, limits))}" if running else none
        return Recommendation(None, "UNDECIDED", (reason,), (), None, (), delta, max_p95_seconds, outside)
    costs = _costs(rows, accounts)
    pick = _pick(comparison, inside, costs, delta)
    rivals = _rivals(comparison, pick, inside, costs, delta)
    unsettled = [rival for rival in rivals if not rival.settled]
    within = " within the limits" if outside else ""
    reasons = (
        _quality(comparison, pick, inside[0], delta, within) + _raced(comparison),
        _cost(pick, inside, costs, rivals, within),
        _speed(pick) + "".join(_inside(limit, rows) for limit in limits),
    )
    flips = tuple(_flips(comparison, pick, inside, [row for row in running if row not in inside], costs, limits))
    if not unsettled:
        return Recommendation(pick.system, "CLEAR", reasons, flips, 0, (), delta, max_p95_seconds, outside)
    rival = max(unsettled, key=lambda rival: rival.errors)
    between, more = (pick.system, rival.system), rival.more_questions
    if rival.errors <= DOUBT_ERRORS:
        return Recommendation(pick.system, "LEAN", reasons, flips, more, between, delta, max_p95_seconds, outside)
    standings = _standings(comparison, inside, costs, between)
    return Recommendation(None, "UNDECIDED", standings, (), more, between, delta, max_p95_seconds, outside)


def _limits(
    p95: float | None, for_1000: float | None, prompt_tokens: float | None, accounts: Accounts | None
) -> list[_Limit]:
    found = []
    if p95 is not None:
        found.append(_Limit(p95, lambda row: row.p95.estimate, lambda value: f"{seconds(value)} at p95"))
    if for_1000 is not None:
        if accounts is None or not accounts.book.said:
            raise ConfigError("a limit in dollars needs a price: give [costs] device_hour, or the model's tokens")
        paid = accounts.dollars
        found.append(
            _Limit(for_1000, lambda row: 1000 * paid[row.system], lambda value: f"{dollars(value)} for 1,000 questions")
        )
    if prompt_tokens is not None:
        words = "{:,.0f} prompt-token equivalents a question".format
        found.append(_Limit(prompt_tokens, lambda row: row.cost.computed, words))
    return found


def _costs(rows: Sequence[Row], accounts: Accounts | None) -> _Costs:
    if accounts is not None and accounts.book.said:
        return _Costs(accounts.dollars, accounts)
    return _Costs({row.system: row.cost.computed for row in rows}, None)


def _pick(comparison: Comparison, inside: Sequence[Row], costs: _Costs, delta: float) -> Row:
    """The cheapest of those proven non-inferior to the top; `inside` is sorted, best first."""
    top = inside[0]
    proven = [row for row in inside if row is top or _gap(comparison, row, top).low > -delta]
    cheapest = min(proven, key=lambda row: costs.of[row.system])
    return next(row for row in proven if not costs.cheaper(cheapest.system, row.system))


def _rivals(comparison: Comparison, pick: Row, inside: Sequence[Row], costs: _Costs, delta: float) -> list[_Rival]:
    cheaper = [row for row in inside if costs.cheaper(row.system, pick.system)]
    differences = [comparison.difference(row.system, pick.system) for row in cheaper]
    adjusted = stats.holm([difference.p if difference else 1.0 for difference in differences])
    rivals = []
    for row, p in zip(cheaper, adjusted, strict=True):
        gap = _gap(comparison, row, pick)
        ways = [stats.questions_needed(gap, -delta), stats.questions_needed(gap) if gap.estimate < 0 else None]
        settled = p < stats.LEVEL and gap.estimate < 0
        rivals.append(_Rival(row.system, settled, stats.errors_above(gap, -delta), _fewest(ways)))
    for row in inside:
        if row is not pick and row not in cheaper:
            gap = _gap(comparison, pick, row)
            errors = -stats.errors_above(gap, -delta)
            rivals.append(_Rival(row.system, gap.low > -delta, errors, _fewest([stats.questions_needed(gap, -delta)])))
    return rivals


def _gap(comparison: Comparison, a: Row, b: Row) -> Interval:
    """Paired difference of two systems; without a common question it may be anything."""
    difference = comparison.difference(a.system, b.system)
    return difference.interval if difference else Interval(0.0, -1.0, 1.0, 0)


def _fewest(ways: Sequence[int | None]) -> int | None:
    """The smallest number, rounded to two digits."""
    numbers = [way for way in ways if way]
    return round(float(f"{min(numbers):.2g}")) if numbers else None


# ---------------------------------------------------------------- words


def _standings(
    comparison: Comparison, inside: Sequence[Row], costs: _Costs, between: tuple[str, str]
) -> tuple[str, ...]:
    a, b = (row for name in between for row in inside if row.system == name)
    words = []
    for row in (a, b):
        score = comparison.interval(row.system, comparison.primary) or Interval(0.0, 0.0, 1.0, 0)
        words.append(f"{row.system} has {comparison.primary} {_points(score)} and costs {costs.words(row.system)}")
    return (*words, f"{a.system} less {b.system} is {_ends(_gap(comparison, a, b))}")


def _quality(comparison: Comparison, pick: Row, top: Row, delta: float, within: str) -> str:
    score = comparison.interval(pick.system, comparison.primary)
    words = f"its {comparison.primary} is {_points(score)}" if score else "not scored"
    if pick is top:
        return f"{words}, the highest{within}"
    gap = _gap(comparison, pick, top)
    return f"{words}; to {top.system} it is {_ends(gap)}, inside the {100 * delta:g} points allowed"


def _raced(comparison: Comparison) -> str:
    out = comparison.race.out if comparison.race else {}
    return f" (out of the race early: {', '.join(sorted(out))})" if out else ""


def _cost(pick: Row, inside: Sequence[Row], costs: _Costs, rivals: Sequence[_Rival], within: str) -> str:
    words = f"it costs {costs.words(pick.system)}"
    cheaper = {row.system for row in inside if costs.cheaper(row.system, pick.system)}
    if not cheaper:
        return f"{words}, and none{within} is cheaper" if len(inside) > 1 else words
    worse = sorted(rival.system for rival in rivals if rival.settled and rival.system in cheaper)
    open_ = sorted(cheaper - set(worse))
    parts = [f"cheaper but significantly worse: {', '.join(worse)}"] if worse else []
    parts += [f"cheaper and not shown to be as good: {', '.join(open_)}"] if open_ else []
    return f"{words} ({'; '.join(parts)})"


def _speed(pick: Row) -> str:
    return f"95% of its answers came within {seconds(pick.p95.estimate)} (measured)"


def _inside(limit: _Limit, rows: Sequence[Row]) -> str:
    out = [row.system for row in rows if limit.exceeded(row)]
    return f", inside the limit of {limit}" + (f", unlike {' and '.join(out)}" if out else "")


def _flips(
    comparison: Comparison,
    pick: Row,
    inside: Sequence[Row],
    others: Sequence[Row],
    costs: _Costs,
    limits: Sequence[_Limit],
) -> list[str]:
    top, flips = inside[0], []
    cheaper = [row for row in inside if costs.cheaper(row.system, pick.system)]
    losses = {row.system: -100 * _gap(comparison, row, top).low for row in cheaper}
    if losses:
        system = min(losses, key=lambda system: losses[system])
        flips.append(f"a loss of up to {losses[system]:.1f} points is acceptable: then {system}")
    if pick is not top and (loss := -100 * _gap(comparison, pick, top).low) > 0:
        flips.append(f"less than {loss:.1f} points may be lost: then {top.system}")
    for row in others:
        needed = " and ".join(limit.words(limit.of(row)) for limit in limits if limit.exceeded(row))
        flips.append(f"{needed} are allowed: then look at {row.system}")
    return flips + (costs.accounts.flips(pick.system) if costs.accounts else [])


def _points(score: Interval) -> str:
    return f"{100 * score.estimate:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def _ends(gap: Interval) -> str:
    return f"{100 * gap.estimate:+.1f} points (95% interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
