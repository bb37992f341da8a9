"""Read `bakeoff.toml` and build what it names; the only module that knows all the parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff import config
from bakeoff.errors import ConfigError, MissingPackageError, UnknownNameError
from bakeoff.types import Answer, Changes, Checkpoint, Example, Generator, Hit, Index, Retriever, System

if TYPE_CHECKING:
    from threading import Event

    from bakeoff.corpus import Corpus
    from bakeoff.corpus.sources import Source
    from bakeoff.evaluation.compare import Comparison
    from bakeoff.evaluation.recommend import Recommendation
    from bakeoff.examples import Split
    from bakeoff.systems.tools import Tool
    from bakeoff.systems.tools.sql import Database
    from bakeoff.tuning.check import Problem

Progress = Callable[[int, int, str], None]
"""Called with what is done, the total, and what is being worked on."""

SYSTEM_TYPES = ("classifier", "prompt", "rag", "react")
RETRIEVERS = ("bm25", "dense", "hybrid")
TOOLS = ("search", "look_up", "calculate")
"""What an agent has unless it is told otherwise; `sql` must be named."""


class Project:
    """A folder with `bakeoff.toml`; everything is built when it is first asked for."""

    def __init__(self, folder: str | Path = ".") -> None:
        self.folder = Path(folder)
        self.config = config.read(self.folder)
        self._tuned: dict[str, Generator] = {}
        for name in self.config.systems:
            self._check_system(name)

    # ------------------------------------------------------------ parts

    @cached_property
    def corpus(self) -> Corpus:
        from bakeoff.corpus import Corpus

        options = self.config.corpus
        return Corpus(
            self.folder / "index",
            options.embedder,
            store=options.store,
            chunk_tokens=options.chunk_tokens,
            headers=options.headers,
        )

    @cached_property
    def split(self) -> Split:
        """The examples in three parts, their evidence resolved where the corpus holds it."""
        from bakeoff.examples import load_examples, locate

        options = self.config.examples
        examples, _ = locate(load_examples(self.folder / options.path), self.corpus.locate)
        return examples.split(test=options.test, valid=options.valid, seed=self.config.seed)

    def system(self, name: str, *, groups: Sequence[str] | None = None) -> System:
        """Build the system `[systems.<name>]`, over all documents or over what `groups` may read."""
        options = dict(self._options("systems", name))
        kind, tuned = options.pop("type"), options.pop("tuned", "")
        if kind == "classifier":
            from bakeoff.systems.classifier import Classifier

            return Classifier(self._checkpoint_path(tuned), name=name)
        generator = self._generator(tuned)
        if kind == "prompt":
            from bakeoff.systems import Prompt

            shots = self.split.train[: options.pop("shots", 0)]
            return Prompt(generator, shots=shots, name=name, **options)
        from bakeoff.systems import RAG, ReAct

        self._require_index()
        retriever = self.retriever(options.pop("retriever", "hybrid"), groups=groups)
        if kind == "react":
            return ReAct(generator, self._tools(options.pop("tools", TOOLS), retriever, groups), name=name, **options)
        fallback = options.pop("fallback", "")
        other = self.system(fallback, groups=groups) if fallback else None
        return RAG(generator, retriever, name=name, fallback=other, **options)

    def retriever(self, name: str, *, groups: Sequence[str] | None = None) -> Retriever:
        """A retriever over this project's corpus - bm25, dense or hybrid - or over what `groups` may read of it."""
        from bakeoff.retrieval import BM25, Dense, Hybrid

        if name not in RETRIEVERS:
            raise UnknownNameError("retriever", name, RETRIEVERS)
        index: Index = self.corpus if groups is None else self.corpus.readable_by(groups)
        bm25, dense = BM25(index), Dense(index)
        found: dict[str, Retriever] = {"bm25": bm25, "dense": dense, "hybrid": Hybrid(bm25, dense)}
        return found[name]

    # ------------------------------------------------------------ verbs

    def ingest(self, *sources: str, dry_run: bool = False, progress: Progress | None = None) -> Changes:
        """Make the index equal to `sources`, by default those configured; `dry_run` only says what it would do."""
        wanted, options = self._sources(sources), self.config.corpus
        return self.corpus.sync(*wanted, access=options.access, hosts=options.hosts, dry_run=dry_run, progress=progress)

    def watch(self, *sources: str, stop: Event | None = None) -> Iterator[Changes]:
        """Ingest, then again whenever a file of the sources changes, until `stop` is set; yields what each did.

        Raises `MissingPackageError` without the extra `watch`.
        """
        try:
            from watchfiles import watch
        except ModuleNotFoundError as error:
            raise MissingPackageError("watching files", "watchfiles", "watch") from error
        from bakeoff.corpus.sources import parse

        found = map(parse, self._sources(sources))
        paths = [source.address for source in found if source.kind in ("files", "sqlite")]
        if not paths:
            raise ConfigError("no files among the sources to watch; name a folder, or run `bakeoff ingest` again")
        yield self.ingest(*sources)
        for _ in watch(*paths, stop_event=stop, raise_interrupt=False, ignore_permission_denied=True):
            yield self.ingest(*sources)

    def forget(self, name: str) -> int:
        """Remove a source or a document from the index, to the last byte on disk; returns how many documents went."""
        removed = self.corpus.forget(name)
        self.corpus.purge()
        return removed

    def check(self) -> list[Problem]:
        """Look for faults in the examples before anything is trained."""
        from bakeoff.examples import load_examples, locate
        from bakeoff.tuning.check import Problem, check

        _, lost = locate(load_examples(self.folder / self.config.examples.path), self.corpus.locate)
        missing = [
            Problem("warning", where, "evidence " + what, "correct the quote, or run `bakeoff ingest`")
            for where, _, what in (line.partition(": ") for line in lost)
        ]
        return [*check(self.split.train, self.split.valid, self.split.test), *missing]

    def tune(self, name: str, *, progress: Progress | None = None) -> Checkpoint:
        """Train the checkpoint `[tune.<name>]`; an up-to-date one is kept."""
        from bakeoff.tuning import tune
        from bakeoff.tuning.run import is_current

        options = dict(self._options("tune", name))
        method, lesson = options.pop("method", ""), options.pop("lesson", "")
        train, valid = self._lessons(lesson, self.split.train), self._lessons(lesson, self.split.valid)
        out = self._checkpoint_path(name)
        seed = options.pop("seed", self.config.seed)
        if is_current(out, method, self.config.base, train, options, seed):
            from bakeoff.tuning.run import load_checkpoint

            return load_checkpoint(out)
        self._tuned.clear()
        return tune(
            method, self.config.base, train, valid, out=out, seed=seed, replace=True, progress=progress, **options
        )

    def compare(
        self,
        names: Sequence[str] = (),
        *,
        run: str = "latest",
        limit: int = 0,
        fresh: bool = False,
        progress: Progress | None = None,
    ) -> Comparison:
        """Bring index and checkpoints up to date, then ask the named systems (by default all) the test questions.

        What stands from before is kept: unchanged documents, checkpoints and answered questions.
        """
        from bakeoff.evaluation.compare import compare

        names = list(names) or list(self.config.systems)
        if not names:
            raise ConfigError(f"no systems to compare: add [systems.<name>] tables to {config.FILE}")
        if self.config.corpus.sources:
            self.ingest(progress=progress)
        for checkpoint in self._checkpoints_of(names):
            try:
                self.tune(checkpoint, progress=progress)
            except MissingPackageError as error:
                plain = " ".join(name for name in names if not self._options("systems", name).get("tuned"))
                raise ConfigError(f"{error}; or leave tuning out: bakeoff compare {plain}") from error
        test = self.split.test[:limit] if limit else self.split.test
        return compare(
            [self.system(name) for name in names],
            list(test),
            self.config.compare.metrics,
            out=self.folder / "runs" / run,
            seed=self.config.seed,
            baseline=self.config.compare.baseline if self.config.compare.baseline in names else "",
            settings={name: self._settings(name) for name in names},
            fresh=fresh,
            progress=progress,
        )

    def rescore(self, run: str = "latest") -> Comparison:
        """Score the recorded answers of a run again; loads no model."""
        from bakeoff.evaluation.compare import examples_of, load, score

        folder = self.folder / "runs" / run
        if not (folder / "trials.jsonl").is_file():
            raise ConfigError(f"there is no run {run!r}; `bakeoff compare` makes one, `bakeoff list runs` shows them")
        score(folder, examples_of(folder), self.config.compare.metrics)
        return load(folder)

    def report(self, run: str, comparison: Comparison) -> tuple[Recommendation, dict[str, Path]]:
        """Recommend, and write report.html, report.md and report.json into the run's folder."""
        from bakeoff.evaluation.report import write

        recommendation = self.recommend(comparison)
        return recommendation, write(comparison, recommendation, self.folder / "runs" / run)

    def recommend(self, comparison: Comparison) -> Recommendation:
        """Which system to ship, inside the limits of `[compare]`."""
        from bakeoff.evaluation.recommend import recommend

        limits = self.config.compare
        return recommend(comparison, delta=limits.delta, max_p95_seconds=limits.max_p95_seconds or None)

    def search(
        self, query: str, k: int = 5, retriever: str = "hybrid", *, groups: Sequence[str] | None = None
    ) -> list[Hit]:
        """The passages that best match `query`, of all documents or of those that `groups` may read."""
        self._require_index()
        return self.retriever(retriever, groups=groups).retrieve(query, k)

    def answer(self, question: str, system: str = "") -> Answer:
        """Ask one system, by default the first of type rag, else the first."""
        kinds = {name: options["type"] for name, options in self.config.systems.items()}
        first = next((name for name, kind in kinds.items() if kind == "rag"), next(iter(kinds), ""))
        return self.system(system or first).answer(question)

    # ------------------------------------------------------------ inside

    def _require_index(self) -> None:
        if not self.corpus.store.sources():
            raise ConfigError("the index is empty; run `bakeoff ingest` first")

    def _checkpoints_of(self, names: Sequence[str]) -> list[str]:
        used = {self._options("systems", name).get("tuned", "") for name in names}
        return [name for name in self.config.tune if name in used]

    def _generator(self, tuned: str) -> Generator:
        """The base, or a checkpoint on it; GGUF checkpoints share one engine."""
        from bakeoff.models import generator

        if tuned and not (self._checkpoint_path(tuned) / "checkpoint.json").is_file():
            raise ConfigError(f"the checkpoint {tuned!r} is not there yet; run `bakeoff tune {tuned}`")
        if not self._tuned:
            ready = [
                path for name in self.config.tune if (path := self._checkpoint_path(name) / "adapter.gguf").is_file()
            ]
            self._tuned[""] = generator(self.config.base, adapters=[path.parent for path in ready])
        if tuned not in self._tuned:
            base = self._tuned[""]
            path = self._checkpoint_path(tuned)
            if hasattr(base, "using"):
                from bakeoff.models.weights import resolve

                self._tuned[tuned] = base.using(resolve(str(path)))
            else:
                self._tuned[tuned] = generator(path)
        return self._tuned[tuned]

    def _tools(self, names: Sequence[str], retriever: Retriever, groups: Sequence[str] | None) -> list[Tool]:
        from bakeoff.systems.tools.calculate import calculate
        from bakeoff.systems.tools.look_up import look_up
        from bakeoff.systems.tools.search import search
        from bakeoff.systems.tools.sql import sql

        store = self.corpus.store if groups is None else self.corpus.readable_by(groups).store
        make: dict[str, Callable[[], Tool]] = {
            "calculate": calculate,
            "look_up": lambda: look_up(store),
            "search": lambda: search(retriever),
            "sql": lambda: sql(self._databases(groups)),
        }
        return [make[name]() for name in names]

    def _databases(self, groups: Sequence[str] | None) -> list[Database]:
        """The SQLite sources; for `groups`, without any table that a pattern of [corpus.access] could speak of."""
        from bakeoff.corpus.sources import parse
        from bakeoff.systems.tools.sql import Database

        def readable(source: Source, table: str) -> bool:
            # A statement sees whole tables, so rows that only some may read close the table to all but everybody.
            closed = groups is not None and any(
                _may_fit(p, f"{source.name}/{table}/") for p in self.config.corpus.access
            )
            return source.table in ("", table) and not closed

        found = [source for source in map(parse, self._sources(())) if source.kind == "sqlite"]
        if not found:
            raise ConfigError("the tool sql needs a SQLite database among the sources, as in sqlite:///shop.db")
        return [Database(source.name, Path(source.address), partial(readable, source)) for source in found]

    def _lessons(self, system: str, examples: Sequence[Example]) -> list[Example]:
        if not system:
            return list(examples)
        teacher = self.system(system)
        if not hasattr(teacher, "lesson"):
            raise ConfigError(f"the system {system!r} has no prompts to learn; name one of type prompt or rag")
        return [teacher.lesson(example) for example in examples]

    def _settings(self, name: str) -> dict[str, Any]:
        """What the answers of a system depend on: a run is resumed only if it is unchanged."""
        options = self._options("systems", name)
        settings = {"base": self.config.base, "seed": self.config.seed, **options}
        if tuned := options.get("tuned"):
            settings["checkpoint"] = json.loads((self._checkpoint_path(tuned) / "checkpoint.json").read_text())["files"]
        if options["type"] in ("rag", "react"):
            settings["corpus"] = self.corpus.fingerprint()
        return settings

    def _options(self, table: str, name: str) -> dict[str, Any]:
        entries = getattr(self.config, table)
        if name not in entries:
            raise UnknownNameError("system" if table == "systems" else "checkpoint", name, entries)
        return dict(entries[name])

    def _check_system(self, name: str) -> None:
        from bakeoff.systems import RAG, Prompt, ReAct
        from bakeoff.systems.templates import TEMPLATES
        from bakeoff.systems.tools import NAMES

        options = self._options("systems", name)
        where = f"{config.FILE} [systems.{name}]"
        kind = options.get("type", "")
        if kind not in SYSTEM_TYPES:
            raise ConfigError(f"{where} type: {UnknownNameError('system type', kind, SYSTEM_TYPES)}")
        options_of: dict[str, tuple[Callable[..., object] | None, dict[str, type]]] = {
            "classifier": (None, {}),
            "prompt": (Prompt.__init__, {"shots": int}),
            "rag": (RAG.__init__, {"retriever": str, "fallback": str}),
            "react": (ReAct.__init__, {"retriever": str, "tools": list}),
        }
        function, also = options_of[kind]
        config.check_options(where, options, function, also={"type": str, "tuned": str, **also})
        if options.get("tuned", "") not in ("", *self.config.tune):
            raise ConfigError(f"{where} tuned: {UnknownNameError('checkpoint', options['tuned'], self.config.tune)}")
        if kind == "rag" and (template := options.get("template", "answer")) not in TEMPLATES:
            raise ConfigError(f"{where} template: {UnknownNameError('template', template, TEMPLATES)}")
        for tool in options.get("tools", ()):
            if tool not in NAMES:
                raise ConfigError(f"{where} tools: {UnknownNameError('tool', str(tool), NAMES)}")

    def _checkpoint_path(self, name: str) -> Path:
        return self.folder / "checkpoints" / name

    def _sources(self, named: Sequence[str]) -> list[str]:
        found = [self._source(source) for source in named or self.config.corpus.sources]
        if not found:
            raise ConfigError(f"no sources: name some, or list them under [corpus] sources in {config.FILE}")
        return found

    def _source(self, source: str) -> str:
        """Sources are written relative to the project's folder."""
        if (self.folder / source).exists():
            return str(self.folder / source)
        found = re.fullmatch(r"([^/\\?:=]*=)?(sqlite:///)?(.*)", source, re.DOTALL)
        assert found
        name, prefix, path = found.groups("")
        return source if "://" in path else f"{name}{prefix}{self.folder / path}"


def _may_fit(pattern: str, start: str) -> bool:
    """Whether `pattern` may fit any document id that begins with `start`."""
    literal = re.split(r"[*?\[]", pattern)[0]
    return literal.startswith(start) or start.startswith(literal)
