"""What a project does to be tuned: examples are checked and drafted, checkpoints trained, studied and exported."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff import config, plugins
from bakeoff.errors import ConfigError, ModelError
from bakeoff.evaluation import ledger
from bakeoff.parts import Parts
from bakeoff.types import Checkpoint, Example, Message, Retriever

if TYPE_CHECKING:
    from bakeoff.evaluation.drafting import Drafted
    from bakeoff.evaluation.exporting import Exported
    from bakeoff.tuning.check import Base, Preflight, Training
    from bakeoff.tuning.search import Found

Progress = Callable[[int, int, str], None]
"""Called with what is done, the total, and what is being worked on."""

DOCUMENTS_APART = 0.05
"""Share of the documents by which the method pretrain is validated."""
FEW = 20
"""Test questions below which a normal curve says nothing of what they can show."""
REHEARSED = 500
"""Lessons that a check makes to see how long they are; each is a search."""


@dataclass(frozen=True, slots=True)
class Task:
    """A training, ready to begin."""

    method: str
    train: list[Example]
    valid: list[Example]
    seed: int
    options: dict[str, Any]
    planted: bool
    """Whether canaries are among the lessons."""


class Trained(Parts):
    """A project whose `[tune.<name>]` tables can be trained."""

    def check(self, *, allow_personal: bool = False) -> Preflight:
        """Look for faults in the examples, the model's files and the checkpoints before anything is trained.

        Loads no model: where a lesson needs passages, they are found by words alone.
        """
        from bakeoff.examples import locate
        from bakeoff.tuning.check import NEEDED, Problem, by_severity, preflight

        for name in self.config.tune:
            self._check_entry(name)
        _, lost = locate(self._reading.examples, self.corpus.locate)
        missing = [
            Problem("warning", where, "evidence " + what, "correct the quote, or run `bakeoff ingest`", "quote-missing")
            for where, _, what in (line.partition(": ") for line in lost)
        ]
        found = preflight(
            *(self.split.train, self.split.valid, self.split.test),
            base=self.config.base if self._has_files(self.config.base) else "",
            trainings=[self._rehearsal(name) for name in self.config.tune if self._learns_replies(name)],
            checkpoints=[path for name in self.config.tune if self._is_tuned(path := self._checkpoint_path(name))],
            allow_personal=allow_personal or self.config.examples.allow_personal,
        )
        if self.config.systems and not self.split.test:
            cure = "give `test` a larger share under [examples], or fewer questions the `split` train"
            missing.append(Problem("error", "test", "no questions to test with", cure, "no-test"))
        missing += [
            Problem("error", f"[tune.{name}]", f"{method} finds no example to learn from", NEEDED[method], "idle")
            for name in self.config.tune
            if not found.usable.get(method := self._options("tune", name)["method"], 1) and method in NEEDED
        ]
        missing += [
            Problem(
                "error", f"[tune.{name}]", f"{method} stops at examples without what it learns", NEEDED[method], "some"
            )
            for name in self.config.tune
            if (method := self._options("tune", name)["method"]) in ("dpo", "orpo")
            and 0 < found.usable[method] < len(self.split.train)
        ]
        missing += [
            Problem(
                "warning",
                f"[tune.{name}]",
                f"its checkpoint stands on another base than today's {self.config.base!r}",
                f"`bakeoff tune {name}` and `bakeoff compare` train it again; or name its base",
                "other-base",
            )
            for name in self.config.tune
            if not found.unchecked and self._is_tuned(self._checkpoint_path(name)) and not self._stands_on_base(name)
        ]
        # A project that tunes nothing may keep all its questions for the test.
        own = [problem for problem in found.problems if self.config.tune or problem.kind != "no-training"]
        return replace(found, problems=by_severity([*own, *missing]), read_as=str(self._reading))

    def write_clean(self, out: str, found: Preflight) -> tuple[int, int]:
        """Write the examples that `found` would not leave out as JSON Lines; returns how many, and how many it left.

        Raises `ConfigError` where there is such a file already.
        """
        from bakeoff.examples import write

        if (path := self.folder / out).exists():
            raise ConfigError(f"{path} exists already; name another file")
        dropped = {id for problem in found.problems for id in problem.drop}
        everything = self._reading.examples
        kept = [example for example in everything if example.id not in dropped]
        write(kept, path)
        return len(kept), len(everything) - len(kept)

    def power(self) -> str:
        """What the test questions can show before any is asked, in words."""
        from bakeoff.evaluation.stats import detectable_difference

        n, others = len(self.split.test), max(1, len(self.config.systems) - 1)
        if n < FEW:
            return f"so few test questions ({n}) show next to nothing; 50 show big differences"
        points = [100 * detectable_difference(n, tests=tests) for tests in (1, others)]
        more = f", {points[1]:.0f} among all {others + 1} systems" if others > 1 else ""
        return f"{n} test questions show differences from about {points[0]:.0f} points between two systems{more}"

    def draft(
        self, out: str = "", *, count: int = 50, generator: str = "", progress: Progress | None = None
    ) -> Drafted:
        """Draft `count` verified questions on the indexed documents into `out`, by default the examples' file.

        `generator` is any name that `base` may have; by default the project's own writes them.
        """
        from bakeoff.evaluation.drafting import draft
        from bakeoff.models import generator as build

        self._require_index()
        start = time.perf_counter()
        drafted = draft(
            self.corpus.store,
            self.corpus.store.ids(),
            build(generator, reuse=True) if generator else self._generator(""),
            self.folder / (out or self.config.examples.path),
            count=count,
            seed=self.config.seed,
            progress=progress,
        )
        ledger.note(self.folder, "draft", time.perf_counter() - start)
        return drafted

    def tune(
        self, name: str, *, study: bool = True, allow_personal: bool = False, progress: Progress | None = None
    ) -> Checkpoint:
        """Train the checkpoint `[tune.<name>]`; an up-to-date one is kept.

        `study`: measure what the training changed, and write study.json and training.html into its folder. Raises
        `DataError` for lessons with personal data or secrets in them, unless they are allowed.
        """
        from bakeoff.tuning import load_checkpoint, tune
        from bakeoff.tuning.processes import team
        from bakeoff.tuning.run import is_current

        task = self._task(name, study, allow_personal, progress)
        out = self._checkpoint_path(name)
        made: Checkpoint | None = None
        if is_current(out, task.method, self.config.base, task.train, task.options, task.seed):
            with suppress(ModelError):  # one that was damaged since is trained again
                made = load_checkpoint(out)
        if made is None:
            self._tuned.clear()
            made = tune(
                task.method,
                self.config.base,
                task.train,
                task.valid,
                out=out,
                seed=task.seed,
                replace=True,
                progress=progress,
                **task.options,
            )
            if team().leads:
                ledger.note(self.folder, "tune", ledger.seconds_of(out), name=name)
        # What is studied is whole, in one process; cut, it may be too large for that one's device.
        if (
            study
            and team().leads
            and not team().shards
            and (out / "history.csv").is_file()
            and not (out / "study.json").is_file()
        ):
            self._study(name, task, progress)
        return made

    def search_options(
        self,
        name: str,
        trials: int,
        *,
        study: bool = True,
        allow_personal: bool = False,
        progress: Progress | None = None,
    ) -> Found:
        """Search the options that `[tune.<name>]` leaves open, on the validation examples; goes on with earlier trials.

        The checkpoint of the best is kept; it is up to date once its options stand in the table.
        """
        from bakeoff.tuning.search import search

        task = self._task(name, study, allow_personal, progress)
        self._tuned.clear()
        began = time.perf_counter()
        found = search(
            task.method,
            self.config.base,
            task.train,
            task.valid,
            out=self._checkpoint_path(name),
            trials=trials,
            seed=task.seed,
            progress=progress,
            **task.options,
        )
        ledger.note(self.folder, "tune", time.perf_counter() - began, name=name)
        if study and (found.path / "history.csv").is_file():
            self._study(name, task, progress)
        return found

    def export(
        self,
        name: str,
        target: str | Path,
        *,
        to: str = "",
        encoding: str = "own",
        tolerance: float = 0.02,
        progress: Progress | None = None,
    ) -> Exported:
        """Write the checkpoint `name` as a model that stands by itself, proven on validation examples and lessons."""
        from bakeoff.evaluation.exporting import ASKED, export
        from bakeoff.tuning.rows import lesson

        options = self._options("tune", name)
        self._require_tuned(name)
        head = options.get("method") == "head"
        # Those that validate come first; lessons only serve to see more answers, where these are few.
        known = [
            e for e in (*self.split.valid, *self.split.train) if (e.label if head else e.references or e.messages)
        ][:ASKED]
        asked = self._lessons("" if options.get("method") == "pretrain" else options.get("lesson", ""), known)
        if not head:
            turns = [lesson(example) for example in asked]
            asked = [
                replace(example, messages=one, references=example.references or (one[-1].content,))
                for example, one in zip(asked, turns, strict=True)
            ]
        return export(
            self._checkpoint_path(name),
            Path(target),
            asked,
            lambda: self._generator(name),
            to=to,
            encoding=encoding,
            tolerance=tolerance,
            progress=progress,
        )

    def _task(self, name: str, study: bool, allow_personal: bool, progress: Progress | None) -> Task:
        """What the table `[tune.<name>]` asks for; the checkpoint that it starts from is trained first."""
        from bakeoff.evaluation.lessons import said_again, with_general
        from bakeoff.evaluation.study import CANARIES_FROM, CANARY_METHODS, plant
        from bakeoff.tuning.check.private import refuse_private

        options = dict(self._options("tune", name))
        self._check_entry(name)
        method, lesson = options.pop("method"), options.pop("lesson", "")
        seed = options.pop("seed", self.config.seed)
        if method == "pretrain":
            train, valid = self._documents()
        else:
            train, valid = self._lessons(lesson, self.split.train), self._lessons(lesson, self.split.valid)
        allowed, base = allow_personal or self.config.examples.allow_personal, partial(self._generator, "")
        if not allowed:
            refuse_private([*train, *valid])
        planted = options.pop("canaries", True) and method in CANARY_METHODS and len(train) >= CANARIES_FROM
        if count := options.pop("paraphrases", 0):
            train = said_again(train, method, count, base, self.folder, seed, progress)
        if planted:
            train = plant(train, seed, method)
        ratio, source = options.pop("replay", 0.0), options.pop("replay_from", "")
        if ratio or source:
            train = with_general(
                train,
                method,
                ratio,
                source,
                held_out=[example.question for example in (*self.split.valid, *self.split.test)],
                base=self.config.base,
                folder=self.folder,
                seed=seed,
                allow_personal=allowed,
                progress=progress,
            )
        if start := options.get("start", ""):
            self._check_starts(name)
            began = self.tune(start, study=study, allow_personal=allow_personal, progress=progress)
            options["start"] = str(began.path)
        return Task(method, train, valid, seed, options, planted)

    def _study(self, name: str, task: Task, progress: Progress | None) -> None:
        from bakeoff.evaluation.prices import HOUR, Book
        from bakeoff.evaluation.report.training import write
        from bakeoff.evaluation.study import VERSION, save, study
        from bakeoff.models.weights import cache_folder, resolve, template
        from bakeoff.tuning.rows import lesson, replied

        folder = self._checkpoint_path(name)
        # What came before is the checkpoint that it went on from, so that none is praised for another's gain.
        start = self._options("tune", name).get("start", "")
        both = (str(self._checkpoint_path(start)) if start else self.config.base, str(folder))
        # A model that read the documents is asked what it remembers of them.
        asked = self.split.valid if task.method == "pretrain" else task.valid

        scorer: Any = plugins.get("generators", "transformers")(resolve(both[0]))
        after = resolve(both[1])
        twin: Any = scorer.using(after) if scorer.carries(after) else plugins.get("generators", "transformers")(after)

        manifest = json.loads((folder / "checkpoint.json").read_text())
        found = study(
            manifest,
            folder / "history.csv",
            [replace(example, messages=lesson(example)) for example in asked if replied(example)],
            generators=(self._generator(start), self._generator(name)),
            likelihoods=(scorer.likelihoods, twin.likelihoods),
            template=template(resolve(self.config.base)),
            canary_seed=task.seed if task.planted else None,
            memo=None if start else cache_folder() / "general" / f"{VERSION}-{manifest['base_fingerprint']}.json",
            progress=progress,
        )
        save(found, folder)
        write(found, manifest, folder, Book(hour=self.config.costs.device_hour or HOUR))

    def _learns_replies(self, name: str) -> bool:
        return self._options("tune", name).get("method") not in ("head", "pretrain")

    def _rehearsal(self, name: str) -> Training:
        """What `tune` would train for this entry, with at most `REHEARSED` lessons made."""
        from bakeoff.tuning.check import PAIRED, Training
        from bakeoff.tuning.rows import rejected

        options, everything = self._options("tune", name), [*self.split.train, *self.split.valid]
        method = options["method"]
        lesson = options.get("lesson", "")
        if lesson and self._options("systems", lesson)["type"] != "prompt" and not self.corpus.store.sources():
            name, lesson = f"{name}, without its passages until `bakeoff ingest` was run", ""
        step = max(1, -(-len(everything) // REHEARSED)) if lesson else 1

        def lessons(base: Base) -> list[Example]:
            found = _Rehearsal(self, base)._lessons(lesson, everything[::step])
            pairs = [one for one in found if one.rejected.strip()] if method in PAIRED else []
            return [*found, *(replace(one, id=f"{one.id} (rejected)", messages=rejected(one)) for one in pairs)]

        defaults = signature(plugins.get("methods", method)).parameters
        known = {
            key: options.get(key, defaults[key].default)
            for key in ("max_length", "batch_size", "epochs")
            if key in defaults
        }
        speed = self._speed(name)
        return Training(name, method, lessons, len(self.split.train), tokens_per_second=speed, **known)

    def _speed(self, name: str) -> float:
        """Tokens a second of the last training of this entry, 0 where there was none."""
        path = self._checkpoint_path(name) / "checkpoint.json"
        return float(json.loads(path.read_text()).get("tokens_per_second", 0.0)) if path.is_file() else 0.0

    def _trained(self, names: Sequence[str]) -> dict[str, list[Path]]:
        """System -> folders of its checkpoint and of those that this one started from, for systems that have one."""
        found: dict[str, list[Path]] = {}
        for name in names:
            tuned = self._options("systems", name).get("tuned", "")
            while tuned:
                found.setdefault(name, []).append(self._checkpoint_path(tuned))
                tuned = self._options("tune", tuned).get("start", "")
        return found

    def _documents(self) -> tuple[list[Example], list[Example]]:
        """Examples that are running text and all documents of the index; of these every twentieth validates."""
        train, valid = ([e for e in part if e.text.strip()] for part in (self.split.train, self.split.valid))
        if not (train or valid):
            self._require_index()
        found = [self.corpus.store.document(id) for id in sorted(self.corpus.store.ids())]
        texts = [Example(one.id, one.id, text=one.text) for one in found if one and one.text.strip()]
        apart = texts[:: round(1 / DOCUMENTS_APART)] if len(texts) > 1 else []
        return [*train, *(text for text in texts if text not in apart)], [*valid, *apart]

    def _check_entry(self, name: str) -> None:
        """Raises `ConfigError` for a method or an option that is none."""
        options, where = self._options("tune", name), f"{config.FILE} [tune.{name}]"
        if not isinstance(method := options.get("method"), str):
            raise ConfigError(f'{where} has no method; name one, as in method = "lora"')
        config.check_options(where, options, plugins.get("methods", method), also=config.TUNE)

    def _check_starts(self, name: str) -> None:
        """Raises `ConfigError` for a checkpoint that goes on from itself."""
        seen = [name]
        while start := self._options("tune", seen[-1]).get("start", ""):
            if start in seen:
                raise ConfigError(f"{config.FILE} [tune.{name}] start: {' from '.join([*seen, start])} never begins")
            seen.append(start)


class _Rehearsal(Parts):
    """A project without a model in it: passages are found by words, and tokens counted by the tokenizer alone."""

    def __init__(self, project: Parts, base: Base) -> None:
        from bakeoff.models.generators.scripted import Generator

        class Counter(Generator):
            def count(self, messages: Sequence[Message]) -> int:
                text = render(base.template, messages)
                return len(base.vocabulary.tokenizer.encode(text, add_special_tokens=False).ids)

        from bakeoff.models.chat import render

        self.__dict__.update(project.__dict__)
        self._tuned = {"": Counter()}

    def retriever(self, name: str, *, groups: Sequence[str] | None = None) -> Retriever:
        from bakeoff.retrieval import BM25

        return BM25(self.corpus)
