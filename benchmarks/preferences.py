"""The upper rungs of the ladder: SFT on replies, then DPO on pairs, and what that moves on pairs held out.

    make bench-ladder DATA=path/to/data PART=preferences

The pairs are Raschka's 1,100: two replies to one instruction, of which the politer is chosen; in half of them it is
the plain reply that SFT learns, in the other half the plain reply is rejected, and neither is the longer one more
often. Divided by instruction. ORPO goes the whole way in one step. Nothing is searched: DPO's rate was chosen on pairs
that are learnt from, the others are at their defaults.
Checkpoints are kept under --out and not made again.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from results import machine, table

from bakeoff import load_examples, plugins
from bakeoff.evaluation.stats import mean_interval, paired_difference, score_interval
from bakeoff.files import write_json
from bakeoff.models.chat import completion
from bakeoff.models.weights import resolve
from bakeoff.tuning import tune
from bakeoff.tuning.rows import lesson
from bakeoff.types import Example

SEED = 7
STAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "SFT": ("lora", "", {}),
    "SFT, then DPO": ("dpo", "SFT", {"learning_rate": 5e-4, "epochs": 2}),
    "ORPO": ("orpo", "", {}),
}
"""Row -> its method, the stage that it starts from, and options beside the defaults (docs/log.md)."""


def run(data: Path, out: Path, base: str, train: int, held_out: int) -> str:
    """Train what is missing; the table, with what it was measured on."""
    out = out / f"preferences-{train}-{held_out}"
    pairs, plain = divided(data, train, held_out)
    found = {"the base": likelihoods(base, pairs["test"], out / "base.json")}
    for name, (method, start, own) in STAGES.items():
        folder = out / method
        if not folder.is_dir():
            options = {**own, **({"start": str(out / STAGES[start][0])} if start else {})}
            lessons = plain if method == "lora" else pairs["train"]
            tune(method, base, lessons, out=folder, seed=SEED, progress=_print, **options)
        found[name] = likelihoods(str(folder), pairs["test"], out / f"{method}.json")
    starts = {name: found[start] for name, (_, start, _) in STAGES.items() if start}
    rows = [row(name, starts.get(name, found["the base"]), found, pairs["test"]) for name in found]
    head = ["chosen preferred, percent [95%]", "by the mean token", "gain on SFT", "by the whole reply"]
    longer = sum(len(pair.references[0]) > len(pair.rejected) for pair in pairs["test"]) / len(pairs["test"])
    return (
        f"{table([*head, 'implicit reward', 'loss of the chosen'], rows)}\n\n"
        f"{len(pairs['test'])} held-out pairs, in {longer:.0%} of which the chosen reply is the longer; {len(plain)} "
        f"lessons for SFT and {len(pairs['train'])} pairs for DPO and ORPO of the same instructions; DPO at a rate of "
        f"5e-4 for 2 epochs, the others at their defaults, one seed. Implicit reward: what a reply has gained in "
        f"likelihood since the training's start, so that without preference it is 50%. Loss of the chosen reply "
        f"in nats a token. `make bench-ladder DATA=... PART=preferences`, {base}, on {machine()}."
    )


def divided(data: Path, train: int, held_out: int) -> tuple[dict[str, list[Example]], list[Example]]:
    """Pairs to learn and to test, without an instruction in common, and the plain replies to those that are learnt."""
    folder = data / "rasbt_instruct"
    plain = load_examples(folder / "instruction-data.json")
    pairs = [
        (replace(pair, group=pair.question.partition("\n\n")[0]), reply)
        for pair, reply in zip(load_examples(folder / "instruction-data-with-preference.json"), plain, strict=True)
        if pair.references[0] != pair.rejected
    ]
    groups = sorted({pair.group for pair, _ in pairs})
    random.Random(SEED).shuffle(groups)
    tested = set(groups[: len(groups) // 2])
    order = random.Random(SEED).sample(pairs, len(pairs))
    learnt = [both for both in order if both[0].group not in tested][:train]
    test = [pair for pair, _ in order if pair.group in tested][:held_out]
    return {"train": [pair for pair, _ in learnt], "test": test}, [reply for _, reply in learnt]


def likelihoods(model: str, pairs: Sequence[Example], memo: Path) -> list[dict[str, float]]:
    """Log-probabilities and tokens of both replies of each pair, by torch in fp32; from `memo` where it is there."""
    if not memo.is_file():
        memo.parent.mkdir(parents=True, exist_ok=True)
        scorer: Any = plugins.get("generators", "transformers")(resolve(model))
        both = [one for pair in pairs for one in (pair, replace(pair, references=(pair.rejected,)))]
        values = scorer.likelihoods([completion(scorer.template, lesson(one)) for one in both])
        found = [
            {"chosen": chosen, "chosen_tokens": n, "rejected": rejected, "rejected_tokens": m}
            for (chosen, n), (rejected, m) in zip(values[::2], values[1::2], strict=True)
        ]
        write_json(memo, found)
    held: list[dict[str, float]] = json.loads(memo.read_text())
    return held


def row(
    name: str,
    start: list[dict[str, float]],
    found: dict[str, list[dict[str, float]]],
    pairs: Sequence[Example],
) -> list[str]:
    """How often `name` prefers the chosen reply: by the mean of its tokens, by their sum, by its gain on `start`."""
    after = found[name]
    groups = [pair.group for pair in pairs]
    gained = [
        float(now["chosen"] - then["chosen"] > now["rejected"] - then["rejected"])
        for now, then in zip(after, start, strict=True)
    ]
    gain = paired_difference(by_mean(after), by_mean(found["SFT"]), groups)
    loss = mean_interval([-one["chosen"] / one["chosen_tokens"] for one in after], groups)
    return [
        name,
        _percent(score_interval(by_mean(after), groups)),
        "" if name == "SFT" else _percent(gain, "+"),
        _percent(score_interval([float(one["chosen"] > one["rejected"]) for one in after], groups)),
        "" if after is start else _percent(score_interval(gained, groups)),
        f"{loss.estimate:.2f} [{loss.low:.2f}, {loss.high:.2f}]",
    ]


def by_mean(values: Sequence[dict[str, float]]) -> list[float]:
    """1 where the chosen reply is the likelier by the mean of its tokens."""
    return [float(one["chosen"] / one["chosen_tokens"] > one["rejected"] / one["rejected_tokens"]) for one in values]


def _percent(one: Any, sign: str = "") -> str:
    return f"{100 * one.estimate:{sign}.1f} [{100 * one.low:{sign}.1f}, {100 * one.high:{sign}.1f}]"


def _print(done: int, total: int, text: str) -> None:
    print(f"  {text} {done}/{total}", file=sys.stderr, flush=True)
