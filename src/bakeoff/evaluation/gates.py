"""When a comparison fails, for continuous integration: `rag < 0.7`, `surely rag f1 < 50%`, `rag p95 > 2`.

`surely` fails only where the whole 95% interval lies on the wrong side, else the estimate decides.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from bakeoff.errors import ConfigError, UnknownNameError
from bakeoff.evaluation.comparison import Comparison, Row
from bakeoff.evaluation.stats import Interval
from bakeoff.files import write_atomically

FILE = "junit.xml"
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OTHERS = ("right", "p50", "p95", "cost", "errors")
"""What can be asked of a system besides its metrics: seconds, prompt-token equivalents, a count."""
_GATE = re.compile(
    r"(?P<surely>surely\s+)?(?P<what>.+?)\s*(?P<sign><=|>=|<|>)\s*(?P<bound>\d*\.?\d+)\s*(?P<percent>%?)"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition."""

    text: str
    system: str
    measure: str
    """A metric as it is shown, or one of `OTHERS`."""
    sign: str
    bound: float
    surely: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a gate."""

    gate: Gate
    failed: bool
    found: str
    """The figure, in words."""

    def __str__(self) -> str:
        return f"{'failed' if self.failed else 'passed'}: {self.gate.text} ({self.found})"


def parse(text: str, systems: Sequence[str], metrics: Sequence[str]) -> Gate:
    """Read a condition; the first of `metrics` is meant where none is named.

    Raises `ConfigError` for what is no condition, `UnknownNameError` for a system or a measure that is not there.
    """
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f'--fail-if {text!r} is no condition; write one like "rag < 0.7" or "surely rag p95 > 2"')
    words = match["what"].strip()
    # A name may hold spaces, and begin like another.
    named = [name for name in systems if words == name or words.startswith(f"{name} ")]
    if not named:
        raise UnknownNameError(f"system in --fail-if {text!r}:", words.split()[0], systems)
    system = max(named, key=len)
    measure = words.removeprefix(system).strip() or metrics[0]
    if measure not in (*metrics, *OTHERS):
        raise UnknownNameError(f"measure in --fail-if {text!r}:", measure, (*metrics, *OTHERS))
    bound = float(match["bound"]) / (100 if match["percent"] else 1)
    if bound > 1 and (measure == "right" or measure not in OTHERS):
        raise ConfigError(f"--fail-if {text!r}: scores go from 0 to 1; write 0.7, or 70%")
    return Gate(text.strip(), system, measure, match["sign"], bound, bool(match["surely"]))


def judge(gates: Sequence[Gate], comparison: Comparison) -> list[Result]:
    """Hold each condition against what was measured; what could not be scored fails."""
    rows = {row.system: row for row in comparison.table()}
    return [_judge(gate, rows[gate.system]) for gate in gates]


def _judge(gate: Gate, row: Row) -> Result:
    found = _found(gate.measure, row)
    if found is None:
        return Result(gate, True, "not scored")
    # The end of the interval that is farthest from failing must fail too.
    sure = found.high if gate.sign.startswith("<") else found.low
    failed = COMPARE[gate.sign](sure if gate.surely else found.estimate, gate.bound)
    return Result(gate, failed, f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}], n = {found.n}")


def _found(measure: str, row: Row) -> Interval | None:
    if measure in row.metrics:
        return row.metrics[measure]
    exact = {"cost": row.cost.computed, "errors": float(row.errors)}
    if measure in exact:
        return Interval(exact[measure], exact[measure], exact[measure], row.n)
    return {"right": row.right, "p50": row.p50, "p95": row.p95}[measure]


def junit(results: Sequence[Result], run: str) -> str:
    """JUnit XML, a test case a condition, as continuous integration reads it."""
    failed = sum(result.failed for result in results)
    suite = ElementTree.Element(
        "testsuite", name=f"bakeoff {run}", tests=str(len(results)), failures=str(failed), errors="0"
    )
    for result in results:
        case = ElementTree.SubElement(suite, "testcase", classname=result.gate.system, name=f"not {result.gate.text}")
        if result.failed:
            ElementTree.SubElement(case, "failure", message=str(result))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def write(results: Sequence[Result], folder: Path) -> Path:
    """Write `junit.xml` into the run's folder."""
    write_atomically(folder / FILE, junit(results, folder.name).encode(errors="replace"))
    return folder / FILE
