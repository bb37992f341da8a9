"""What can be done with a project: the verbs of the command line, but for those of tuning in `bakeoff.trained`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator as Stream
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bakeoff import config, plugins
from bakeoff.errors import BakeoffError, ConfigError, DataError, MissingPackageError, UnknownNameError
from bakeoff.evaluation import ledger
from bakeoff.parts import Parts
from bakeoff.trained import Progress, Trained
from bakeoff.types import (
    Answer,
    Changes,
    Example,
    Generator,
    Hit,
    Retriever,
)

if TYPE_CHECKING:
    from threading import Event

    from bakeoff.evaluation.abstention import Calibration
    from bakeoff.evaluation.attack import Attacked
    from bakeoff.evaluation.compare import Comparison
    from bakeoff.evaluation.diagnosis import Diagnosis
    from bakeoff.evaluation.gates import Gate, Result
    from bakeoff.evaluation.history import Entry
    from bakeoff.evaluation.money import Accounts
    from bakeoff.evaluation.recommend import Recommendation
    from bakeoff.evaluation.screen import Screening
    from bakeoff.evaluation.sharing import Work
    from bakeoff.retrieval.fitting import Fit

TICK = 500
"""Milliseconds between two looks at the files that are watched."""
SHOTS = 4
"""Answers that a screening shows the model."""


class Project(Trained):
    """A folder with `bakeoff.toml`; everything is built when it is first asked for."""

    def ingest(self, *sources: str, dry_run: bool = False, progress: Progress | None = None) -> Changes:
        """Make the index equal to `sources`, by default those configured; `dry_run` only says what it would do.

        A source that is configured no more is removed with the others' changes; one that is named here stays till then.
        Raises `ConfigError` before anything is read where a pattern of [corpus.access] fits none of those.
        """
        from bakeoff.corpus.access import require_apart, require_fit

        wanted, options = self._sources(sources), self.config.corpus
        if options.access:
            require_apart([*wanted, *(self._sources(()) if options.sources else ())])
        if not sources:
            require_fit(options.access, wanted)
        start = time.perf_counter()
        changes = self.corpus.sync(
            *wanted, access=options.access, hosts=options.hosts, dry_run=dry_run, progress=progress
        )
        gone = set() if sources else set(self.corpus.store.sources()) - {source.name for source in wanted}
        for name in sorted(gone):
            removed = [id for id, _, _ in self.corpus.store.stamps(name)]
            changes = replace(changes, removed=(*changes.removed, *removed))
            if not dry_run:
                self.corpus.forget(name)
        if (read := len(changes.added) + len(changes.updated)) and not dry_run:
            ledger.note(self.folder, "index", time.perf_counter() - start, documents=read)
        return changes

    def watch(self, *sources: str, stop: Event | None = None) -> Iterator[Changes]:
        """Ingest, then again whenever a file of the sources changes, until `stop` is set; yields what each did.

        Raises `MissingPackageError` without the extra `watch`.
        """
        try:
            from watchfiles import DefaultFilter, watch
        except ModuleNotFoundError as error:
            raise MissingPackageError("watching files", "watchfiles", "watch") from error
        paths = [Path(source.address) for source in self._sources(sources) if source.kind in ("files", "sqlite")]
        if not paths:
            raise ConfigError("no files among the sources to watch; name a folder, or run `bakeoff ingest` again")
        files, counts = [path for path in paths if not path.is_dir()], DefaultFilter()
        known: list[tuple[int, ...]] | None = None
        for changes in watch(
            *(path for path in paths if path.is_dir()),
            watch_filter=None,
            stop_event=stop,
            raise_interrupt=False,
            ignore_permission_denied=True,
            rust_timeout=TICK,
            yield_on_timeout=True,
        ):
            # A file that is watched itself is lost when another takes its name, and reading a SQLite file touches it.
            state = [stamp for path in files for stamp in (_stamp(path), _stamp(path.with_name(f"{path.name}-wal")))]
            if state != known or any(counts(*change) for change in changes):
                began, known = known is None, state
                try:
                    changes_made = self.ingest(*sources)
                except BakeoffError as error:
                    if began:
                        raise
                    # A folder that is moved away for a moment, a database that is down: the next change may bring it.
                    changes_made = Changes(failed={"ingest": str(error)})
                yield changes_made

    def forget(self, name: str) -> int:
        """Remove a source or a document from the index, to its last byte; returns how many documents went."""
        removed = self.corpus.forget(name)
        self.corpus.purge()
        return removed

    def quoting(self, name: str) -> list[Path]:
        """Folders of runs that hold passages of a document or of a source, whether the index still does or not."""
        held = re.compile(re.escape(f'"document_id": {json.dumps(name)[:-1]}'.encode()) + rb'["/]')
        found = set()
        for path in (self.folder / "runs").glob("*/**/*.jsonl"):
            with path.open("rb") as file:
                if any(held.search(line) for line in file):
                    found.add(Path(*path.relative_to(self.folder).parts[:2]))
        return sorted(found)

    def calibrate(self, name: str, *, progress: Progress | None = None) -> Calibration:
        """Fit when the system `name` refuses, on questions that are not for testing; one that stands is fitted anew.

        Those of the tuning set count too where nothing in the system learnt from them. Raises `DataError` where too
        few have evidence.
        """
        from bakeoff.evaluation.abstention import calibrate
        from bakeoff.systems import RAG

        system = self.system(name)
        if not isinstance(system, RAG):
            raise ConfigError(f"the system {name!r} retrieves nothing to judge its answers by; name one of type rag")
        found = calibrate(system, self._calibration_examples(name), progress)
        found.decider.save(self._decider_path(name), self._decider_made_from(name))
        return found

    def attack(self, name: str, *, run: str = "latest", limit: int = 0, progress: Progress | None = None) -> Attacked:
        """Ask the system `name` the test questions with injections in its passages; kept for the report of `run`."""
        from bakeoff.evaluation.attack import attack, save
        from bakeoff.systems import RAG

        system = self.system(name)
        if not isinstance(system, RAG):
            raise ConfigError(f"the system {name!r} reads no documents that could attack it; name one of type rag")
        test = list(self.split.test)[: limit or None]
        found = attack(system, test, progress)
        save(found, self.run_folder(run), self._settings(name))
        return found

    def fit(self) -> Fit:
        """Fit the reranker `learned` on the questions that are not for testing, and write `reranker.json`.

        Raises `DataError` where too few have evidence that is found.
        """
        from bakeoff.retrieval.fitting import fit, judge

        self._require_index()
        examples = [*self.split.train, *self.split.valid]
        found = fit(judge(self.retriever("hybrid"), examples, self.config.retrieval.depth))
        found.save(self._fit_path)
        return found

    def screen(
        self, *, sample: int = 100, run: str = "screen", fresh: bool = False, progress: Progress | None = None
    ) -> Screening:
        """Say before anything is trained what retrieval, its improvement and tuning could gain at most.

        Asks the base model `sample` questions that are not for testing; recorded in runs/`run`, and resumed.
        """
        from bakeoff.evaluation import screen
        from bakeoff.evaluation.sharing import Work
        from bakeoff.models import engine

        if self.config.corpus.sources:
            self.ingest(progress=progress)
        work = Work(self.config.compare.parallel)
        sharing = _Sharing(self, work)
        name, rag = sharing._plain_rag()
        shots, rest = self.split.train[:SHOTS], [*self.split.train[SHOTS:], *self.split.valid]
        chosen = screen.sample(rest, self.corpus, sample, self.config.seed)
        base, seed = self.config.base, self.config.seed
        made_from = {"base": base, "engine": engine(base), "seed": seed, "shots": [shot.id for shot in shots]}
        read = {**made_from, "corpus": self.corpus.fingerprint(), **(self._settings(name) if name else {})}
        asked = (screen.CLOSED, screen.SHOTS)
        return screen.screen(
            sharing._generator(""),
            rag,
            shots,
            chosen,
            self.metrics,
            out=self.run_folder(run),
            seed=self.config.seed,
            settings=dict.fromkeys(asked, made_from) | dict.fromkeys((screen.RETRIEVAL, screen.ORACLE), read),
            fresh=fresh,
            work=work,
            progress=progress,
        )

    def compare(
        self,
        names: Sequence[str] = (),
        *,
        run: str = "latest",
        limit: int = 0,
        fresh: bool = False,
        again: bool = False,
        race: bool = False,
        progress: Progress | None = None,
    ) -> Comparison:
        """Bring index and checkpoints up to date, then ask the named systems (by default all) the test questions.

        `again` asks the baseline a second time. `race` stops asking systems that are surely more than `delta` worse
        than another. What stands from before is kept: unchanged documents, checkpoints and answered questions.
        """
        from bakeoff.evaluation import folder
        from bakeoff.evaluation.compare import compare, load
        from bakeoff.evaluation.sharing import Work

        metrics, names = self.metrics, list(names) or list(self.config.systems)
        if not names:
            raise ConfigError(f"no systems to compare: add [systems.<name>] tables to {config.FILE}")
        failed = self.ingest(progress=progress).failed if self.config.corpus.sources else {}
        test, out = list(self.split.test[: limit or None]), self.run_folder(run)
        if not fresh:
            known = {name: self._settings(name, learnt=False) for name in names}
            folder.require_same(out, test, known, unknown=("checkpoint", "decider"))
        for checkpoint in self._checkpoints_of(names):
            try:
                self.tune(checkpoint, progress=progress)
            except MissingPackageError as error:
                plain = " ".join(name for name in names if not self._options("systems", name).get("tuned"))
                raise ConfigError(f"{error}; or leave tuning out: bakeoff compare {plain}") from error
        for name in names:
            self._bring_decider(name, progress)
        work = Work(self.config.compare.parallel)
        sharing = _Sharing(self, work)
        compare(
            [sharing.system(name) for name in names],
            test,
            metrics,
            out=out,
            seed=self.config.seed,
            baseline=self.config.compare.baseline if self.config.compare.baseline in names else "",
            settings={name: self._settings(name) for name in names},
            fresh=fresh,
            again=again,
            race=self.config.compare.delta if race else None,
            work=work,
            progress=progress,
        )
        trained, effort = self._trained(names), ledger.read(self.folder)
        folder.note_builds(
            out,
            build_seconds=ledger.training_seconds(trained, effort),
            retraining=ledger.retraining_seconds(trained),
            studies=ledger.studies(trained),
            store=urlsplit(self.config.corpus.store).hostname or "",
            lessons=dict.fromkeys(trained, len(self.split.train)),
            unread={"count": len(failed), "first": ": ".join(next(iter(failed.items())))} if failed else {},
            split={part: len(getattr(self.split, part)) for part in ("train", "valid", "test")},
            effort={
                **effort.to_json(),
                "held": len(self.corpus.store.ids()),
                "examples": len(self._reading.examples),
            },
        )
        return load(out)

    def diagnose(self, run: str, name: str, *, fresh: bool = False, progress: Progress | None = None) -> Diagnosis:
        """Say why the wrong answers of the system `name` in `run` are wrong; kept for the report of that run.

        Raises `ConfigError` where the system, its checkpoint or the documents are no longer those of the run.
        """
        from bakeoff.evaluation import folder
        from bakeoff.evaluation.diagnose import diagnose, diagnose_closed
        from bakeoff.evaluation.diagnosis import save
        from bakeoff.evaluation.gold import Given
        from bakeoff.evaluation.sharing import Work
        from bakeoff.systems import RAG, Prompt

        comparison = self.rescore(run)
        if name not in comparison.systems:
            raise UnknownNameError(f"system of the run {run!r}", name, comparison.systems)
        settings = folder.recorded(self._settings(name))
        if settings != comparison.run["settings"][name]:
            raise ConfigError(
                f"the system {name!r} is no longer what answered in the run {run!r}: its settings, its checkpoint, "
                f"the documents or the machine changed; run `bakeoff compare {name} --run {run} --fresh` first"
            )
        work = Work(self.config.compare.parallel)
        sharing = _Sharing(self, work)
        system, metric = sharing.system(name), self.metrics[0]
        out = self.run_folder(run) / "diagnosis" / name
        tuned = self._options("systems", name).get("tuned", "")
        generator = sharing._generator(tuned)
        if isinstance(system, RAG):
            written = {example.id: example for example in self._reading.examples}
            closed = Prompt(generator)
            found = diagnose(
                system,
                closed,
                comparison,
                self.corpus,
                metric,
                out=out,
                evidence=written,
                settings=settings,
                fresh=fresh,
                work=work,
                progress=progress,
            )
        elif isinstance(system, Prompt):
            found = diagnose_closed(
                system,
                sharing.system(name, untuned=True) if tuned else None,
                lambda passages: RAG(generator, Given(passages)),
                comparison,
                self.corpus,
                self.split.train if tuned else (),
                metric,
                out=out,
                settings=settings,
                fresh=fresh,
                work=work,
                progress=progress,
            )
        else:
            raise ConfigError(f"the system {name!r} cannot be diagnosed; name one of type rag or prompt")
        save(found, out, settings)
        return found

    def run_folder(self, run: str) -> Path:
        """Where a run stands, or would; raises `ConfigError` for a name that leads elsewhere."""
        from bakeoff.evaluation import folder

        return folder.of(self.folder, run)

    def rescore(self, run: str = "latest") -> Comparison:
        """Score the recorded answers of a run again; loads no model."""
        from bakeoff.evaluation.compare import AGAIN, examples_of, load, score

        folder = self.run_folder(run)
        if not (folder / "trials.jsonl").is_file():
            raise ConfigError(f"there is no run {run!r}; `bakeoff compare` makes one, `bakeoff list runs` shows them")
        score(folder, examples_of(folder), self.metrics)
        if (folder / AGAIN / "trials.jsonl").is_file():
            score(folder / AGAIN, examples_of(folder / AGAIN), self.metrics)
        return load(folder)

    def gates(self, conditions: Sequence[str], names: Sequence[str] = ()) -> list[Gate]:
        """Read conditions like "rag < 0.7" on the named systems, by default all."""
        from bakeoff.evaluation import gates

        metrics = [getattr(plugins.module("metrics", name), "NAME", name) for name in self.config.compare.metrics]
        return [gates.parse(text, list(names) or list(self.config.systems), metrics) for text in conditions]

    def report(
        self, run: str, comparison: Comparison, gates: Sequence[Result] = ()
    ) -> tuple[Recommendation, dict[str, Path]]:
        """Recommend, and write report.html, .md, .json and .csv into the run's folder.

        With `gates` that were judged, junit.xml too.
        """
        from bakeoff.evaluation import gates as gating
        from bakeoff.evaluation import history
        from bakeoff.evaluation.report import write

        recommendation = self.recommend(comparison)
        folder = self.run_folder(run)
        if gates:
            gating.write(gates, folder)
        accounts = self.accounts(comparison)
        history.note(comparison, recommendation, folder)
        return recommendation, write(comparison, recommendation, folder, gates=gates, accounts=accounts)

    def history(self) -> tuple[list[Entry], Path]:
        """All comparisons of the project, oldest first, and the page `runs/history.html` that is written of them.

        Runs from before there was a history are taken up. Raises `ConfigError` where nothing was compared yet.
        """
        from bakeoff.evaluation import history
        from bakeoff.evaluation.compare import load
        from bakeoff.evaluation.report.history import write

        runs = self.folder / "runs"
        known = {one.run for one in history.read(runs)}
        for path in sorted(runs.glob("*/trials.jsonl")):
            if path.parent.name not in known and (path.parent / "report.json").is_file():
                comparison = load(path.parent)
                history.note(comparison, self.recommend(comparison), path.parent)
        entries = history.read(runs)
        if not entries:
            raise ConfigError("there are no comparisons yet; `bakeoff compare` makes one")
        return entries, write(entries, runs)

    def recommend(self, comparison: Comparison) -> Recommendation:
        """Which system to ship, inside the limits of `[compare]`."""
        from bakeoff.evaluation.recommend import recommend

        limits = self.config.compare
        return recommend(
            comparison,
            delta=limits.delta,
            max_p95_seconds=limits.max_p95_seconds or None,
            max_dollars=limits.max_dollars or None,
            max_prompt_tokens=limits.max_prompt_tokens or None,
            accounts=self.accounts(comparison),
        )

    def accounts(self, comparison: Comparison) -> Accounts:
        """What the systems cost, at the prices of `[costs]` and of the price book."""
        from bakeoff.evaluation.money import Accounts
        from bakeoff.evaluation.prices import book

        return Accounts(comparison, book(comparison, self.config.costs))

    def search(
        self, query: str, k: int = 5, retriever: str = "hybrid", *, groups: Sequence[str] | None = None
    ) -> list[Hit]:
        """The passages that best match `query`, of all documents or of those that `groups` may read."""
        _require_text(query)
        self._require_index()
        return self.retriever(retriever, groups=groups).retrieve(query, k)

    def answer(self, question: str, system: str = "") -> Answer:
        """Ask one system, by default the first of type rag, else the first; raises `DataError` for no question."""
        _require_text(question)
        return self.system(system or self._first()).answer(question)

    def stream(self, question: str, system: str = "") -> Stream[str, None, Answer]:
        """As `answer`, with the draft as it is written; systems that cannot stream give it at once."""
        _require_text(question)
        asked = self.system(system or self._first())
        if hasattr(asked, "stream"):
            answer: Answer = yield from asked.stream(question)
        else:
            answer = asked.answer(question)
            yield answer.text
        return answer

    def _bring_decider(self, name: str, progress: Progress | None) -> None:
        """Calibrate a system that may refuse by itself, where that was not done yet and there is enough to go by."""
        from bakeoff.evaluation.abstention import LEAST, usable
        from bakeoff.systems.decider import load

        withholds = self._options("systems", name).get("mode", "always") != "always"
        if not withholds or load(self._decider_path(name), self._decider_made_from(name)):
            return
        if len(usable(self._calibration_examples(name))) >= LEAST:
            self.calibrate(name, progress=progress)

    def _calibration_examples(self, name: str) -> list[Example]:
        learnt = bool(self._options("systems", name).get("tuned"))
        return [*self.split.valid, *(() if learnt else self.split.train)]

    def _checkpoints_of(self, names: Sequence[str]) -> list[str]:
        used = {self._options("systems", name).get("tuned", "") for name in names}
        return [name for name in self.config.tune if name in used]


def _require_text(question: str) -> None:
    if not question.strip():
        raise DataError("the question is empty; ask something, in quotes if it has spaces")


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes whenever the file's content does; a file that is empty is as good as none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ()
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size) if stat.st_size else ()


class _Sharing(Parts):
    """A project whose systems do the same work once."""

    def __init__(self, project: Parts, work: Work) -> None:
        self.__dict__.update(project.__dict__)
        self._work = work

    def _generator(self, tuned: str) -> Generator:
        return self._work.generator(super()._generator(tuned))

    def retriever(self, name: str, *, groups: Sequence[str] | None = None) -> Retriever:
        return self._work.retriever(super().retriever(name, groups=groups), (name, groups))
