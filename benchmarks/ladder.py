"""The ladder of methods on SmolLM2-135M: every way to train a generator, each with its own searched settings.

    make bench-ladder DATA=path/to/data                # reading; PART=skill or PART=preferences for the others
    python benchmarks/ladder.py --data path/to/data --methods lora prefix

Reading is XQuAD: a question behind its paragraph, divided by article, none of the test's ever looked at for a prompt.
The skill is to follow short instructions as Raschka's 1,100 do, divided by instruction. Equal budget: for each method
so many trials over its own options, of as many lessons and epochs each, chosen by validation loss, the defaults first;
then one training on all lessons. The test questions choose nothing. Every step is a process of its own, so memory and
CPU seconds are that step's; a stopped run goes on. The table is written to docs/results.md after each method. The part
preferences stands in preferences.py.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import preferences
from questions import sample, xquad
from results import machine, publish, table
from road import PROMPTS_CHOSEN_ON

from bakeoff import load_examples, plugins
from bakeoff.evaluation.metrics import exact, recall
from bakeoff.evaluation.stats import Interval, mean_interval, paired_difference, score_interval
from bakeoff.evaluation.study import study
from bakeoff.files import write_json
from bakeoff.models import generator
from bakeoff.models.chat import completion
from bakeoff.models.weights import resolve
from bakeoff.systems import Prompt
from bakeoff.tuning import tune
from bakeoff.tuning.rows import lesson
from bakeoff.tuning.search import search
from bakeoff.types import Answer, Example

BASE = "smollm2-135m"
UNTUNED = "the base"
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("full", {}),
    "freeze": ("freeze", {}),
    "lora": ("lora", {}),
    "adapter": ("adapter", {"kind": "bottleneck"}),
    "adapter-ia3": ("adapter", {"kind": "ia3"}),
    "prefix": ("prefix", {}),
    "soft_prompt": ("soft_prompt", {}),
    "p_tuning": ("p_tuning", {}),
}
FILES = {
    "reading": "xquad/xquad.en.json",
    "skill": "rasbt_instruct/instruction-data.json",
    "preferences": "rasbt_instruct/instruction-data-with-preference.json",
}
"""What each part reads."""
BATCH = 4
MAX_TOKENS = 48
AT_ONCE = 16
"""Questions that are answered in one batch."""
SEED = 7


@dataclass(frozen=True)
class Task:
    """Lessons, each with its prompt and right reply in `messages`; `group` is what no two parts share."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]


def main() -> None:
    """Do what is missing, method by method, or the one step that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad or rasbt_instruct")
    parser.add_argument("--out", type=Path, default=Path(".bench/ladder"))
    parser.add_argument("--part", choices=FILES, default="reading")
    parser.add_argument("--methods", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--lessons", type=int, default=100, help="of the last training")
    parser.add_argument("--trial-lessons", type=int, default=32)
    parser.add_argument("--valid", type=int, default=20)
    parser.add_argument("--asked", type=int, default=80, help="test questions")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of trials and of the last training")
    parser.add_argument("--pairs", type=int, default=200, help="that preferences are learnt from")
    parser.add_argument("--held-out", type=int, default=150, help="pairs that they are tested on")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.data / (file := FILES[arguments.part])).is_file():
        sys.exit(f"skipped: {arguments.data / file} is not there; give its folder with --data")
    if arguments.part == "preferences":
        text = preferences.run(arguments.data, arguments.out, BASE, arguments.pairs, arguments.held_out)
        publish("ladder-preferences", text)
        print(text)
        return
    sizes = (arguments.lessons, arguments.trial_lessons, arguments.valid, arguments.asked)
    folder = arguments.out / "-".join(map(str, (arguments.part, *sizes, arguments.trials, arguments.epochs)))
    if arguments.one:
        step, name = arguments.one
        _write(folder / name / f"{step}.json", STEPS[step](arguments, folder, name))
        return
    for name in (UNTUNED, *arguments.methods):
        for step in ("asked",) if name == UNTUNED else STEPS:
            if not (folder / name / f"{step}.json").is_file():
                print(f"{name}: {step}", file=sys.stderr, flush=True)
                command = [sys.executable, __file__, *sys.argv[1:], "--one", step, name]
                if code := subprocess.run(command, check=False).returncode:
                    sys.exit(code)
        if name != UNTUNED:
            publish(f"ladder-{arguments.part}", report(arguments, folder))
    print(report(arguments, folder))


# ---------------------------------------------------------------- lessons


def reading(arguments: argparse.Namespace) -> Task:
    """XQuAD; the first articles, at which prompts were chosen, are learnt from and never asked."""
    root = arguments.out / "paragraphs"
    root.mkdir(parents=True, exist_ok=True)
    closed = Prompt(generator("scripted"))
    found = []
    for example in xquad(arguments.data, root):
        paragraph = (root.parent / example.evidence[0].document_id).read_text(encoding="utf-8")
        found.append(closed.lesson(replace(example, question=f"{paragraph}\n\n{example.question}")))
    seen = list(dict.fromkeys(example.group for example in found))[:PROMPTS_CHOSEN_ON]
    return divided(arguments, found, seen)


def skill(arguments: argparse.Namespace) -> Task:
    """Instructions with replies; the same instruction on another input stays in the same part."""
    found = [
        replace(example, messages=lesson(example), group=example.question.partition("\n\n")[0])
        for example in load_examples(arguments.data / FILES["skill"])
    ]
    return divided(arguments, found, ())


def divided(arguments: argparse.Namespace, examples: Sequence[Example], learnt: Sequence[str]) -> Task:
    """A third of the groups is for the test, a sixth for validation, the others, `learnt` among them, for training."""
    groups = sorted({example.group for example in examples} - set(learnt))
    random.Random(SEED).shuffle(groups)
    third, half = len(groups) // 3, len(groups) // 2
    parts = dict.fromkeys(groups[:third], "test") | dict.fromkeys(groups[third:half], "valid")
    sizes = {"train": arguments.lessons, "valid": arguments.valid, "test": arguments.asked}
    return Task(
        **{
            part: sample([one for one in examples if parts.get(one.group, "train") == part], size, SEED)
            for part, size in sizes.items()
        }
    )


TASKS: dict[str, Callable[[argparse.Namespace], Task]] = {"reading": reading, "skill": skill}


# ---------------------------------------------------------------- steps


def searched(arguments: argparse.Namespace, folder: Path, name: str) -> dict[str, Any]:
    """The options with the lowest validation loss; all trials see the same lessons as often."""
    task, (method, options) = TASKS[arguments.part](arguments), CONTESTANTS[name]
    found = search(
        method,
        BASE,
        sample(task.train, arguments.trial_lessons, SEED),
        task.valid,
        out=folder / name / "best",
        trials=arguments.trials,
        seed=SEED,
        progress=_print,
        epochs=arguments.epochs,
        batch_size=BATCH,
        **options,
    )
    shutil.rmtree(found.path)
    return {"options": dict(found.options), "loss": found.value, "trials": found.trials, "pruned": found.pruned}


def trained(arguments: argparse.Namespace, folder: Path, name: str) -> dict[str, Any]:
    """CPU seconds, the loading of the model included, and what the checkpoint says of itself."""
    out = folder / name / "checkpoint"
    # A training that was stopped begins anew: of one that goes on, neither memory nor seconds would be the whole.
    for left in (out, out.with_name(f".{out.name}.partial")):
        shutil.rmtree(left, ignore_errors=True)
    task = TASKS[arguments.part](arguments)
    options = json.loads((folder / name / "searched.json").read_text())["options"]
    before = time.process_time()
    made = tune(CONTESTANTS[name][0], BASE, task.train, task.valid, out=out, seed=SEED, progress=_print, **options).path
    seconds = time.process_time() - before
    manifest = json.loads((made / "checkpoint.json").read_text())
    facts = {key: manifest[key] for key in ("peak_mb", "trained_parameters", "valid_loss_before", "valid_loss_after")}
    size = sum(path.stat().st_size for path in made.iterdir())
    return {"cpu_seconds": seconds, "bytes": size, "train": len(task.train), **facts}


def asked(arguments: argparse.Namespace, folder: Path, name: str) -> dict[str, Any]:
    """Scores and losses of the test questions, all by torch in fp32, and what a checkpoint forgot."""
    task, checkpoint = TASKS[arguments.part](arguments), folder / name / "checkpoint"
    base, model = _scorer(BASE), _scorer(BASE if name == UNTUNED else str(checkpoint))
    replies: list[str] = []
    for first in range(0, len(task.test), AT_ONCE):
        batch = [example.messages[:-1] for example in task.test[first : first + AT_ONCE]]
        replies += [one.text.strip() for one in model.generate_many(batch, max_tokens=MAX_TOKENS)]
        _print(len(replies), len(task.test), "test questions")
    answers = [Answer(reply) for reply in replies]
    values = model.likelihoods([completion(model.template, example.messages) for example in task.test])
    found: dict[str, Any] = {
        "groups": [example.group for example in task.test],
        "replies": replies,
        "recall": [recall.score(example, answer) for example, answer in zip(task.test, answers, strict=True)],
        "exact": [exact.score(example, answer) for example, answer in zip(task.test, answers, strict=True)],
        "loss": [-value / tokens for value, tokens in values],
    }
    if name != UNTUNED:
        forgot = study(
            json.loads((checkpoint / "checkpoint.json").read_text()),
            checkpoint / "history.csv",
            (),
            generators=(base, model),
            likelihoods=(partial(base.likelihoods), partial(model.likelihoods)),
            template=base.template,
            canary_seed=None,
            memo=folder / "general.json",
        )
        found["texts"] = _ends(forgot.text_loss_change)
        found["knowledge"] = [_ends(forgot.knowledge_before), _ends(forgot.knowledge_change)]
    return found


STEPS: dict[str, Callable[[argparse.Namespace, Path, str], dict[str, Any]]] = {
    "searched": searched,
    "trained": trained,
    "asked": asked,
}


# ---------------------------------------------------------------- the table


def report(arguments: argparse.Namespace, folder: Path) -> str:
    """What is measured so far."""
    before = _read(folder, UNTUNED, "asked")
    done = [name for name in CONTESTANTS if (folder / name / "asked.json").is_file()]
    head = ["method", "found", "trained", "recall", "gain", "exact", "loss", "general texts", "general questions"]
    rows = [[UNTUNED, "", "", *_scores(before, before), "", "", "", "", ""]]
    rows += [_row(folder, name, before) for name in done]
    first = _read(folder, done[0], "asked")["knowledge"][0][0]
    trained = _read(folder, done[0], "trained")["train"]
    return (
        f"{table([*head, 'peak memory', 'CPU seconds', 'saved'], rows)}\n\n"
        f"{len(before['recall'])} test questions of {len(set(before['groups']))} groups, {trained} lessons, "
        f"{arguments.valid} for validation; {arguments.trials} trials of {arguments.trial_lessons} lessons for each "
        f"method, {arguments.epochs} epochs everywhere, one seed. Recall and exact in percent, with 95% intervals, the "
        f"gain paired; loss in nats a token of the right reply. General texts: nats a token more than the base; "
        f"general questions: points more than the base's {first:.0%} of 40. CPU seconds are of the last training, "
        f"loading included. `make bench-ladder DATA=... PART={arguments.part}`, {BASE}, on {machine()}."
    )


def _row(folder: Path, name: str, before: dict[str, Any]) -> list[str]:
    best, trained, after = (_read(folder, name, step) for step in STEPS)
    texts, knows = Interval(*after["texts"]), Interval(*after["knowledge"][1])
    own = {key: value for key, value in best["options"].items() if key not in ("epochs", "batch_size", "kind")}
    return [
        f"`{name}`",
        ", ".join(f"{key} {value:.2g}" if isinstance(value, float) else f"{key} {value}" for key, value in own.items()),
        f"{trained['trained_parameters']:,}",
        *_scores(after, before),
        f"{texts.estimate:+.3f} [{texts.low:+.3f}, {texts.high:+.3f}]",
        _percent(knows, "+"),
        f"{trained['peak_mb']:,} MB",
        f"{trained['cpu_seconds']:,.0f}",
        f"{trained['bytes'] / 1e6:.2f} MB",
    ]


def _scores(after: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Recall, its gain, exact match and loss of the test questions."""
    groups = after["groups"]
    gain = _percent(paired_difference(after["recall"], before["recall"], groups), "+") if after is not before else ""
    return [
        _percent(score_interval(after["recall"], groups)),
        gain,
        f"{100 * np.mean(after['exact']):.1f}",
        _interval(mean_interval(after["loss"], groups)),
    ]


def _percent(one: Interval, sign: str = "") -> str:
    return f"{100 * one.estimate:{sign}.1f} [{100 * one.low:{sign}.1f}, {100 * one.high:{sign}.1f}]"


def _interval(one: Interval) -> str:
    return f"{one.estimate:.2f} [{one.low:.2f}, {one.high:.2f}]"


def _ends(one: Interval) -> list[float]:
    return [one.estimate, one.low, one.high, one.n]


def _scorer(name: str) -> Any:
    return plugins.get("generators", "transformers")(resolve(name))


def _read(folder: Path, name: str, step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name / f"{step}.json").read_text())
    return found


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)


_said = [""]


def _print(done: int, total: int, text: str) -> None:
    """A line for each new thing that is worked on."""
    if (title := text.partition(": training")[0]) != _said[0] or done == total:
        _said[0] = title
        print(f"  {text} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
