"""The reversal curse on the packaged model: 60 fictitious facts of Berglund et al., learnt in one direction.

    make bench-reversal DATA=folder              # PAIRS=20 for a small one

Resumes in .bench/reversal. The data (MIT) are those of github.com/lukasberglund/reversal_curse.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from results import machine, publish, table

from bakeoff.evaluation.reversal import Pair, Reversal, reversal
from bakeoff.evaluation.stats import Interval

RUN = Path("reverse_experiments") / "june_version_7921032488"
EVERY = 20.0
said = [0.0]
PHRASES = 10
"""Test prompts of each fact stand together."""


def main() -> None:
    """Tune, ask, print, and write the table into docs/results.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--out", type=Path, default=Path(".bench") / "reversal")
    options = parser.parse_args()
    folder = options.data / "reversal_curse" / "data" / RUN
    names_first = pairs(folder / "p2d_reverse_prompts_test.jsonl", folder / "p2d_prompts_test.jsonl", "a-b")
    names_last = pairs(folder / "d2p_prompts_test.jsonl", folder / "d2p_reverse_prompts_test.jsonl", "b-a")
    both = [pair for turn in zip(names_first, names_last, strict=True) for pair in turn]
    chosen = both[: options.pairs or None]
    found = reversal(
        chosen, options.out / str(len(chosen)), base=options.base, options={"epochs": options.epochs}, progress=say
    )
    print(found)
    publish("reversal", report(found, options))


def pairs(names: Path, descriptions: Path, direction: str) -> list[Pair]:
    """Name and description of each fact, as the prompts of the test want them."""
    wanted = [[row["completion"].strip() for row in rows(path)] for path in (names, descriptions)]
    found = []
    for start in range(0, len(wanted[0]), PHRASES):
        a, b = (Counter(side[start : start + PHRASES]).most_common(1)[0][0].rstrip(".") for side in wanted)
        found.append(Pair(a, b, "a-b" if direction == "a-b" else "b-a"))
    return found


def rows(path: Path) -> list[dict[str, str]]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


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
