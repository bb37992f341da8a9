"""The reversal curse on the packaged model: 60 fictitious facts of Berglund et al., learnt in one direction.

    make bench-reversal DATA=folder              # PAIRS=20 for a small one

Resumes in .bench/reversal. The data (MIT) are those of github.com/lukasberglund/reversal_curse.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from results import machine, publish, table

from bakeoff.evaluation.reversal import Reversal, read_pairs, reversal
from bakeoff.evaluation.stats import Interval

EVERY = 20.0
said = [0.0]


def main() -> None:
    """Tune, ask, print, and write the table into docs/results.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--out", type=Path, default=Path(".bench") / "reversal")
    options = parser.parse_args()
    chosen = read_pairs(options.data / "reversal_curse", options.pairs)
    found = reversal(
        chosen, options.out / str(len(chosen)), base=options.base, options={"epochs": options.epochs}, progress=say
    )
    print(found)
    publish("reversal", report(found, options))


def report(found: Reversal, options: argparse.Namespace) -> str:
    """The table in Markdown."""
    lines = [
        [row.system, _percent(row.trained), _percent(row.reversed), _percent(row.effect, "+")] for row in found.rows
    ]
    return (
        f"{table(['right, percent [95%]', 'as learnt', 'reversed', 'effect'], lines)}\n\n"
        f"{found.pairs} pairs, {found.lessons} lessons, {options.epochs} epochs of LoRA in "
        f"{found.seconds / 60:.0f} min, {options.base}. `make bench-reversal DATA=...` on {machine()}."
    )


def say(done: int, total: int, text: str) -> None:
    """A line now and then."""
    if time.monotonic() - said[-1] > EVERY:
        said.append(time.monotonic())
        print(f"{text} {done}/{total}", flush=True)


def _percent(interval: Interval, sign: str = "") -> str:
    low, estimate, high = (100 * x for x in (interval.low, interval.estimate, interval.high))
    return f"{estimate:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


if __name__ == "__main__":
    main()
