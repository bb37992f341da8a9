"""Ask every system every question, score the answers, compare: `collect`, `score`, `load`.

A run folder holds `run.toml` (what was asked of whom), `examples.jsonl`, `trials.jsonl` (one line an answer,
appended as it comes), `scores.jsonl` and `machine.json`. Scores can be made again without a model.
"""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.errors import BakeoffError, ConfigError, DataError, UnknownNameError, UnreachableError
from bakeoff.evaluation import checks, folder, records
from bakeoff.evaluation import race as racing
from bakeoff.evaluation.attack import rates
from bakeoff.evaluation.comparison import Abstentions, Comparison, Difference, Row, Verdict
from bakeoff.evaluation.diagnosis import load_all
from bakeoff.evaluation.freshness import load_all as load_freshness
from bakeoff.evaluation.metrics import Scoring, check_deciding, pooled, scoring
from bakeoff.evaluation.sharing import Work
from bakeoff.evaluation.stats import Interval
from bakeoff.files import write_atomically
from bakeoff.memory import forget_peak
from bakeoff.types import Answer, Example, System, Trial

__all__ = [
    "Abstentions",
    "Comparison",
    "Difference",
    "Interval",
    "Row",
    "Verdict",
    "collect",
    "compare",
    "examples_of",
    "load",
    "score",
]

METRICS = ("recall", "exact", "f1", "support")
AGAIN = "again"
"""Folder in that of a run: the second answers of its baseline."""
TIMED = 30
"""Questions that a system is asked one at a time, for its latency."""
FEW_TIMED = 5
"""The same where latency is not what is asked for."""
Progress = Callable[[int, int, str], None]
"""Called with the answers done, their total, and the system that is asked."""


def compare(
    systems: Sequence[System],
    examples: Sequence[Example],
    metrics: Sequence[str | Scoring] = METRICS,
    *,
    out: str | Path,
    seed: int = 0,
    baseline: str = "",
    settings: folder.Settings | None = None,
    fresh: bool = False,
    again: bool = False,
    race: float | None = None,
    work: Work | None = None,
    timed: int = TIMED,
    progress: Progress | None = None,
) -> Comparison:
    """Ask `systems` the `examples`, score by `metrics` (the first decides), and compare; resumes what stands in `out`.

    `baseline` names the system the others are held against, by default the first. `fresh` discards earlier answers.
    `again` asks the baseline a second time, to see what differs by chance alone (A/A). `race` stops asking systems that
    are surely more than so much worse than another, as a share of questions. `work`: what `systems` share; then so
    many questions are asked one at a time, for latency and memory, and the others as many at once as the models take.
    """
    check_deciding(metrics)
    scorings = [scoring(metric) for metric in metrics]
    ask = partial(
        collect,
        examples=examples,
        seed=seed,
        settings=settings,
        fresh=fresh,
        work=work,
        timed=timed,
        progress=progress,
    )
    if race is None:
        ask(systems, out=Path(out), baseline=baseline)
        (Path(out) / racing.FILE).unlink(missing_ok=True)
    else:
        asking = partial(ask, out=Path(out), baseline=baseline)
        _race(systems, examples, scorings[0], Path(out), race, seed, fresh, asking)
    score(Path(out), examples, scorings)
    if again:
        twice = [system for system in systems if system.name == (baseline or systems[0].name)]
        if work:
            work.forget()  # or nothing could differ
        ask(twice, out=Path(out) / AGAIN)
        score(Path(out) / AGAIN, examples, scorings)
    return load(Path(out))


# ---------------------------------------------------------------- the three steps


def collect(
    systems: Sequence[System],
    examples: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    baseline: str = "",
    settings: folder.Settings | None = None,
    fresh: bool = False,
    now: tuple[Sequence[System], Sequence[Example]] | None = None,
    work: Work | None = None,
    timed: int = TIMED,
    progress: Progress | None = None,
) -> None:
    """Ask what has not been asked yet, system by system, so that models stay warm; of these only `now`, if given.

    Raises `UnreachableError` when an endpoint is down, `ConfigError` when `out` holds answers to other questions or of
    systems with other settings, and `StoreError` when the disk is full or another process works in `out`; the answers
    so far are kept.
    """
    _check(systems, examples, baseline)
    with folder.locked(out):
        if fresh:
            for name in ("trials.jsonl", "scores.jsonl", "run.toml", "examples.jsonl", "machine.json", racing.FILE):
                (out / name).unlink(missing_ok=True)
        folder.write_run(out, [system.name for system in systems], examples, settings or {}, seed, baseline)
        asked = {(row["system"], row["example_id"]) for row in records.read(out / "trials.jsonl")}
        work = work or Work()
        sample = examples if work.parallel == 1 else racing.order(examples, seed)[:timed]
        alone = {example.id for example in sample}
        wanted, questions = now or (systems, examples)
        new = {system.name: [one for one in questions if (system.name, one.id) not in asked] for system in wanted}
        total = len(wanted) * len(questions)
        done = total - sum(map(len, new.values()))
        with folder.appending(out / "trials.jsonl") as file:

            def keep(trial: Trial) -> None:
                nonlocal done
                folder.append(file, records.line(trial))
                done += 1
                if progress:
                    progress(done, total, trial.system)

            for system in wanted:
                forget_peak()
                for example in new[system.name]:
                    if example.id in alone:
                        keep(_ask(system, example, work))
                if new[system.name]:
                    folder.note_machine(out, system.name)
            for system in wanted:
                for trial in _together(system, [one for one in new[system.name] if one.id not in alone], work):
                    keep(trial)


def score(out: Path, examples: Sequence[Example], metrics: Sequence[str | Scoring] = METRICS) -> None:
    """Score the answers in `out` by `metrics` against `examples`, anew; no model is loaded.

    A line of `scores.jsonl` holds the value and its status: ok, not_applicable (nothing to score), or error (the
    metric raised). A system that raised is scored 0 wherever an empty answer could be scored at all.
    """
    known = {example.id: example for example in examples}
    loaded = [scoring(metric) for metric in metrics]
    rows = []
    for row in records.read(out / "trials.jsonl"):
        if row["example_id"] not in known:
            continue  # of a run that asked more
        trial = records.trial(row)
        for metric in loaded:
            rows.append(
                {
                    "system": trial.system,
                    "example_id": trial.example_id,
                    "metric": metric.name,
                    "version": metric.version,
                    **({"model": metric.model} if metric.model else {}),
                    **_value(metric.score, known[trial.example_id], trial),
                }
            )
    with folder.locked(out):
        write_atomically(out / "scores.jsonl", records.lines(rows))


def load(out: Path) -> Comparison:
    """Read a scored run folder; raises `DataError` where there is none."""
    if not (out / "run.toml").is_file() or not (out / "scores.jsonl").is_file():
        raise DataError(f"{out} holds no scored run; run `bakeoff compare` first")
    run = {"run": out.name, **tomllib.loads((out / "run.toml").read_text(encoding="utf-8"))}
    race = racing.load(out)
    first = {name: rank for rank, name in enumerate(run["systems"])}
    place = {example.id: rank for rank, example in enumerate(examples_of(out))}
    held = [row for row in records.read(out / "trials.jsonl") if row["example_id"] in place]
    trials = _as_if_alone([records.trial(row) for row in held])
    trials.sort(key=lambda trial: (first.get(trial.system, len(first)), place[trial.example_id]))
    if race:
        turn = {example.id: turn for turn, example in enumerate(racing.order(examples_of(out), run["seed"]))}
        trials = [trial for trial in trials if turn[trial.example_id] < race.out.get(trial.system, len(turn))]
    systems = [name for name in run["systems"] if any(trial.system == name for trial in trials)]
    if not systems:
        raise DataError(f"{out} holds no answers yet; run `bakeoff compare` first")
    trials = [trial for trial in trials if trial.system in systems]
    raced = {(trial.system, trial.example_id) for trial in trials}
    rows = [row for row in records.read(out / "scores.jsonl") if (row["system"], row["example_id"]) in raced]
    scores: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in rows:
        scores.setdefault((row["system"], row["example_id"]), {})[row["metric"]] = row["value"]
    machine = out / "machine.json"
    return Comparison(
        systems=tuple(systems),
        metrics=tuple(dict.fromkeys(row["metric"] for row in rows)),
        examples={example.id: example for example in examples_of(out)},
        trials=tuple(trials),
        scores=scores,
        pooled=pooled({row["metric"] for row in rows}),
        baseline=run["baseline"],
        seed=run["seed"],
        failures=tuple(
            f"{row['metric']} on {row['system']}/{row['example_id']}: {row['reason']}"
            for row in rows
            if row["status"] == "error"
        ),
        run=run,
        machine=json.loads(machine.read_text()) if machine.is_file() else {},
        attacks=rates(out, run["settings"]),
        freshness=load_freshness(out, run["settings"]),
        diagnoses=load_all(out, run["settings"], run["examples"]),
        second=_second(out, run),
        race=race,
        versions={row["metric"]: row["version"] for row in rows},
        judges={row["metric"]: row["model"] for row in rows if "model" in row},
        checks=checks.read(out, trials),
    )


def _as_if_alone(trials: Sequence[Trial]) -> list[Trial]:
    """Answers that were not timed are given the mean busy time of those of the same system that were."""
    timed: dict[str, list[float]] = {}
    for trial in trials:
        if trial.alone and not trial.error:
            timed.setdefault(trial.system, []).append(trial.answer.usage.seconds)
    usual = {system: float(np.mean(seconds)) for system, seconds in timed.items()}

    def shown(trial: Trial) -> Trial:
        if trial.alone or trial.system not in usual:
            return trial
        usage = replace(trial.answer.usage, seconds=usual[trial.system])
        return replace(trial, answer=replace(trial.answer, usage=usage))

    return list(map(shown, trials))


def examples_of(out: Path) -> list[Example]:
    """The examples that the systems in `out` were asked."""
    return [records.example(row) for row in records.read(out / "examples.jsonl")]


def _race(
    systems: Sequence[System],
    examples: Sequence[Example],
    metric: Scoring,
    out: Path,
    delta: float,
    seed: int,
    fresh: bool,
    ask: Callable[..., None],
) -> None:
    """Ask in rounds, and after each leave out what is surely worse.

    What stands from before is not asked again, but used only when its turn comes: a race that goes on after a stop, or
    was a whole comparison before, takes the same course.
    """
    ordered = racing.order(examples, seed)
    groups = [example.group or f" {example.id}" for example in ordered]
    scores = {system.name: np.full(len(ordered), np.nan) for system in systems}
    running, before = list(systems), 0
    gone: dict[str, int] = {}
    for look in racing.looks(ordered):
        ask(systems, now=(running, ordered[before:look]), fresh=fresh and before == 0)
        new = {example.id for example in ordered[before:look]}
        rows = [row for row in records.read(out / "trials.jsonl") if row["example_id"] in new]
        held = {(row["system"], row["example_id"]): records.trial(row) for row in rows}
        for system in running:
            for place in range(before, look):
                value = _value(metric.score, ordered[place], held[system.name, ordered[place].id])["value"]
                scores[system.name][place] = np.nan if value is None else value
        before = look
        if look < len(ordered):
            so_far = {name: values[:look] for name, values in scores.items()}
            out_now = racing.losers(so_far, groups[:look], [system.name for system in running], delta)
            gone |= dict.fromkeys(out_now, look)
            running = [system for system in running if system.name not in gone]
    racing.save(racing.Race(gone, delta, len(ordered), len(systems)), out)


def _second(out: Path, run: Mapping[str, Any]) -> Comparison | None:
    """The second answers of the baseline, where they were made in the same way as the first."""
    again = out / AGAIN
    if not (again / "scores.jsonl").is_file() or not any(records.read(again / "trials.jsonl")):
        return None
    second = load(again)
    name = second.systems[0]
    same = second.run["examples"] == run["examples"] and second.run["settings"][name] == run["settings"].get(name)
    return second if same and name in run["systems"] else None


# ---------------------------------------------------------------- asking and scoring


def _together(system: System, examples: Sequence[Example], work: Work) -> Iterator[Trial]:
    """Several at a time, each as it comes."""
    with work.crowd(), ThreadPoolExecutor(work.parallel) as pool:
        asked = [pool.submit(_ask, system, example, work) for example in examples]
        try:
            for done in as_completed(asked):
                yield replace(done.result(), alone=False)
        finally:
            pool.shutdown(cancel_futures=True)


def _ask(system: System, example: Example, work: Work) -> Trial:
    work.credit()  # of an answer that raised
    start = time.perf_counter()
    try:
        answer, error = system.answer(example.question), ""
    except UnreachableError:  # no fault of the system's: to be mended, then the same command goes on
        raise
    except Exception as problem:  # whatever else a system raises is its wrong answer, and the others go on
        answer, error = Answer("", "error"), f"{type(problem).__name__}: {problem}"
    seconds = time.perf_counter() - start + work.credit()
    if not isinstance(answer, Answer):
        raise ConfigError(f"system {system.name!r} answered with {type(answer).__name__}; return a bakeoff.Answer")
    return Trial(system.name, example.id, answer, seconds, error)


def _value(metric: Callable[[Example, Answer], float | None], example: Example, trial: Trial) -> dict[str, Any]:
    try:
        value = metric(example, trial.answer)
    except BakeoffError:  # a judge that does not answer: to be mended, then the same command goes on
        raise
    except Exception as problem:  # one metric's fault must not lose the other scores
        return {"value": None, "status": "error", "reason": f"{type(problem).__name__}: {problem}"}
    if value is None:
        return {"value": None, "status": "not_applicable", "reason": ""}
    if not math.isfinite(value):
        return {"value": None, "status": "error", "reason": f"it returned {value}"}
    return {"value": 0.0 if trial.error else float(value), "status": "ok", "reason": trial.error}


def _check(systems: Sequence[System], examples: Sequence[Example], baseline: str) -> None:
    names, ids = [system.name for system in systems], [example.id for example in examples]
    if not names:
        raise ConfigError("no systems to compare: give at least one")
    if not ids:
        raise DataError("no examples to ask: give at least one question")
    if len(set(names)) < len(names):
        raise ConfigError(f"two systems are named {_twice(names)!r}: give each its own name")
    if len(set(ids)) < len(ids):
        raise DataError(f"two examples have the id {_twice(ids)!r}: make ids unique")
    if baseline and baseline not in names:
        raise UnknownNameError("baseline", baseline, names)


def _twice(names: Sequence[str]) -> str:
    return next(name for i, name in enumerate(names) if name in names[:i])
