"""Search for a method's options on the validation examples, with Optuna: pruned, and resumed where it stopped.

For prompt methods the learning rate alone moves accuracy two to six times, so methods compared at one setting each say
nothing of the methods.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from bakeoff import plugins
from bakeoff.errors import ConfigError, DataError, MissingPackageError
from bakeoff.tuning.processes import refuse_several
from bakeoff.tuning.rows import replied
from bakeoff.tuning.run import alone, move, tune
from bakeoff.types import Example

Range = tuple[float, float]
"""Low and high, searched on a logarithmic scale."""
Choice = list[Any]

SPACES: Mapping[str, Mapping[str, Range | Choice]] = {
    "adapter": {"learning_rate": (2e-4, 1e-2), "size": [16, 32, 64], "epochs": [1, 2, 4]},
    "dpo": {"learning_rate": (1e-5, 1e-3), "beta": (0.03, 0.5), "epochs": [1, 2]},
    "freeze": {"learning_rate": (2e-5, 1e-3), "layers": [2, 4, 8], "epochs": [2, 3, 4, 6]},
    "full": {"learning_rate": (5e-6, 3e-4), "epochs": [1, 2, 4]},
    "grpo": {"learning_rate": (1e-5, 5e-4), "tries": [4, 8]},
    "head": {"kind": ["logistic", "forest"], "features": ["minilm-int8", "base"]},
    "kto": {"learning_rate": (1e-5, 1e-3), "beta": (0.03, 0.5), "epochs": [1, 2]},
    "lora": {"learning_rate": (1e-4, 5e-3), "rank": [4, 16, 64], "epochs": [1, 2, 4]},
    "orpo": {"learning_rate": (3e-5, 1e-3), "beta": (0.03, 0.5), "epochs": [1, 2]},
    "p_tuning": {"learning_rate": (2e-4, 1e-2), "tokens": [10, 30, 60], "epochs": [2, 3, 4]},
    "prefix": {"learning_rate": (1e-3, 1e-1), "tokens": [10, 30, 60], "epochs": [2, 3, 4]},
    "pretrain": {"learning_rate": (1e-5, 3e-4), "epochs": [1, 3]},
    "soft_prompt": {"learning_rate": (1e-3, 1e-1), "tokens": [10, 30, 60], "epochs": [2, 3, 4]},
}
"""What is searched for each method; an option that is given stays as it is."""
IA3: Mapping[str, Range | Choice] = {"learning_rate": (2e-3, 1e-1), "epochs": [1, 2, 4]}
"""For adapters of that kind: scales have no size, and want ten times the rate of layers."""
GOALS = {"dpo": "rewarded_after", "grpo": "reward_valid", "kto": "rewarded_after", "orpo": "preferred_after"}
"""Fact of the checkpoint to raise; the others lower the validation loss, which `beta` would change by itself."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to."""

    options: Mapping[str, Any]
    """The best, given ones included."""
    value: float
    """Their validation loss, or less the goal of the method."""
    trials: int
    pruned: int
    path: Path
    """The checkpoint that they made."""


def search(
    method: str,
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    *,
    out: str | Path,
    trials: int,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
    **options: Any,
) -> Found:
    """Try up to `trials` settings of `method`, counting those of an earlier call, and put the best checkpoint in `out`.

    The first are the method's defaults, so that on the validation examples nothing found is worse than they.
    Raises `ConfigError` where all options are given, `DataError` without validation examples.
    """
    refuse_several("a search")
    known = IA3 if options.get("kind") == "ia3" else SPACES.get(method, {})
    # A LoRA that goes on from another has the rank of that one.
    held = {*options, "rank"} if options.get("start") else options
    space = {name: values for name, values in known.items() if name not in held}
    if not space:
        raise ConfigError(f"there is nothing to search for {method}: all options are given, or it has no space")
    if trials < 1:
        raise ConfigError(f"a search of {trials} trials tries nothing; ask for some: bakeoff tune NAME --search 12")
    if not valid:
        raise DataError("a search needs validation examples; give [examples] valid a share, as in valid = 0.1")
    if GOALS.get(method, "").startswith(("preferred", "rewarded")) and not any(
        example.rejected.strip() and replied(example) for example in valid
    ):
        raise DataError(
            f"a search for {method} counts how often the chosen reply is preferred, and no validation example has both "
            "replies; add some with `rejected`, or search by hand"
        )
    out = Path(out)
    folder = out.with_name(f".{out.name}.search")
    with alone(folder):
        study = _opened(folder, _identity(method, base, options, train, valid, seed), seed, trials)

        def try_one(trial: Any) -> float:
            tried = {**options, **{name: _suggest(trial, name, values) for name, values in space.items()}}
            title = f"trial {len(_finished(study)) + 1} of {trials}: {_said(tried, space)}"
            target = folder / f"trial-{trial.number:03}"

            def say(done: int, total: int, text: str) -> None:
                if progress:
                    progress(done, total, f"{title}: {text}")

            with _watched(method, _pruning(trial, method)):
                made = tune(method, base, train, valid, out=target, seed=seed, replace=True, progress=say, **tried)
            return _value(method, made.path)

        def tidy(*_: Any) -> None:
            """Keep the checkpoint of the best trial that is recorded, and no other."""
            kept = f"trial-{study.best_trial.number:03}" if _finished(study) else ""
            for left in (*folder.glob("trial-*"), *folder.glob(".trial-*")):
                if left.name != kept:
                    shutil.rmtree(left)

        left = trials - len(_finished(study)) - len(_pruned(study))
        if left == trials and not _in(study, "WAITING"):
            study.enqueue_trial(_first(method, space))
        if left > 0:
            study.optimize(try_one, n_trials=left, callbacks=[tidy])
        best = {**options, **study.best_params}
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / f"trial-{study.best_trial.number:03}", copy)
        move(copy, out)
        return Found(best, study.best_value, len(_finished(study)) + len(_pruned(study)), len(_pruned(study)), out)


def _opened(folder: Path, identity: str, seed: int, trials: int) -> Any:
    """The study in `folder`, with the trials of an earlier call for the same."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingPackageError("a search for options", "optuna", "search") from error
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=identity,
        storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, trials // 3)),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        load_if_exists=True,
    )


def _pruning(trial: Any, method: str) -> Callable[[int, float], None]:
    """Told each epoch's validation loss, ends the trial where it is hopeless."""
    from optuna import TrialPruned

    def watch(epoch: int, loss: float) -> None:
        trial.report(loss, epoch)
        if method not in GOALS and trial.should_prune():
            raise TrialPruned

    return watch


def _value(method: str, checkpoint: Path) -> float:
    """What is made small."""
    facts = json.loads((checkpoint / "checkpoint.json").read_text())
    return float(-facts[GOALS[method]] if method in GOALS else facts["valid_loss_after"])


def _said(tried: Mapping[str, Any], space: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {tried[name]:.3g}" if isinstance(tried[name], float) else f"{name} {tried[name]}" for name in space
    )


def _suggest(trial: Any, name: str, values: Range | Choice) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    return trial.suggest_float(name, *values, log=True)


def _first(method: str, space: Mapping[str, Range | Choice]) -> dict[str, Any]:
    """The defaults; the middle of a range that does not hold its own."""
    found = {}
    for name, values in space.items():
        default = signature(plugins.get("methods", method)).parameters[name].default
        within = default in values if isinstance(values, list) else values[0] <= default <= values[1]
        found[name] = default if within else math.sqrt(values[0] * values[1])
    return found


def _finished(study: Any) -> list[Any]:
    return _in(study, "COMPLETE")


def _pruned(study: Any) -> list[Any]:
    return _in(study, "PRUNED")


def _in(study: Any, state: str) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name == state]


def _identity(
    method: str, base: str, options: Mapping[str, Any], train: Sequence[Example], valid: Sequence[Example], seed: int
) -> str:
    """What a search must share with an earlier one to go on with it."""
    from bakeoff.models import weights
    from bakeoff.tuning.run import manifest_of, sha256_of

    known = dict(options)
    if known.get("start"):  # it counts by what it holds
        known["start"] = manifest_of(Path(known["start"]))["files"]
    facts = [
        method,
        weights.resolve(base).fingerprint,
        sorted(known.items()),
        sha256_of(train),
        sha256_of(valid),
        seed,
    ]
    return json.dumps(facts)


def _watched(method: str, watch: Callable[[int, float], None]) -> Any:
    """While it lasts, each epoch's validation loss is told to `watch`."""
    from contextlib import nullcontext

    if method == "head":
        return nullcontext()
    from bakeoff.tuning import training

    return training.watched(watch)
