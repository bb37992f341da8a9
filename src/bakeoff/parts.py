"""Build what `bakeoff.toml` names: corpus, systems, generators, retrievers, examples; each when first asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bakeoff import config, plugins
from bakeoff.errors import ConfigError, UnknownNameError
from bakeoff.types import (
    Embedder,
    Example,
    Generator,
    Index,
    Reranker,
    Retriever,
    System,
)

if TYPE_CHECKING:
    from bakeoff.corpus import Corpus
    from bakeoff.corpus.addresses import Source
    from bakeoff.evaluation.metrics import Scoring
    from bakeoff.examples import Reading, Split
    from bakeoff.retrieval.queries import Rewrite
    from bakeoff.systems import RAG
    from bakeoff.systems.tools import Tool
    from bakeoff.systems.tools.sql import Database

SYSTEM_TYPES = ("classifier", "prompt", "rag", "react")
RETRIEVERS = ("bm25", "dense", "hybrid", "reranked")
SEARCH = {
    "retriever": str,
    "rewrite": Literal["earlier", "model", "none"],
    "expand": Literal["none", "multi-query", "hyde"],
    "hops": int,
}
"""Options of a system that say how its passages are searched for."""
TOOLS = ("search", "look_up", "calculate")
"""What an agent has unless it is told otherwise; `sql` must be named."""


class Parts:
    """A folder with `bakeoff.toml`, and what stands in it."""

    def __init__(self, folder: str | Path = ".", *, reuse: bool = False) -> None:
        """`reuse`: for conversations; the part that prompts have in common is read once (`models.generator`)."""
        self.folder = Path(folder)
        self._reuse = reuse
        self.config = config.read(self.folder)
        self._tuned: dict[str, Generator] = {}
        for name in self.config.systems:
            self._check_system(name)
        for name in self.config.metrics:
            if name not in plugins.names("metrics"):
                raise ConfigError(
                    f"{config.FILE} [metrics]: {UnknownNameError('metric', name, plugins.names('metrics'))}"
                )

    @cached_property
    def corpus(self) -> Corpus:
        return self.index(self.folder / "index", self.config.corpus.embedder, self.config.corpus.store)

    def index(self, folder: Path, embedder: Embedder | str = "", store: str = "sqlite") -> Corpus:
        """An index in `folder` with the options of `[corpus]`, by default with this project's own embedder."""
        from bakeoff.corpus import Corpus

        options = self.config.corpus
        return Corpus(
            folder,
            embedder or self.corpus.embedder,
            store=store,
            vectors=options.vectors,
            chunk_tokens=options.chunk_tokens,
            headers=options.headers,
        )

    @cached_property
    def split(self) -> Split:
        """The examples in three parts, their evidence resolved where the corpus holds it."""
        from bakeoff.examples import locate

        options = self.config.examples
        examples, _ = locate(self._reading.examples, self.corpus.locate)
        return examples.split(test=options.test, valid=options.valid, seed=self.config.seed)

    def system(self, name: str, *, groups: Sequence[str] | None = None, untuned: bool = False) -> System:
        """Build the system `[systems.<name>]`, over all documents or over what `groups` may read.

        `untuned`: with the base model in place of its checkpoint.
        """
        options = dict(self._options("systems", name))
        kind, tuned = options.pop("type"), options.pop("tuned", "")
        tuned = "" if untuned else tuned
        if kind == "classifier":
            from bakeoff.systems.classifier import Classifier

            return Classifier(self._checkpoint_path(tuned), name=name)
        generator = self._generator(tuned)
        from bakeoff.systems import RAG, Prompt, ReAct
        from bakeoff.systems.decider import load as load_decider

        if kind == "prompt":
            shots = self.split.train[: options.pop("shots", 0)]
            return Prompt(generator, shots=shots, name=name, **options)
        self._require_index()
        search = {key: options.pop(key) for key in SEARCH if key in options}
        retriever, rewrite = self._search(search, groups)
        if kind == "react":
            return ReAct(generator, self._tools(options.pop("tools", TOOLS), retriever, groups), name=name, **options)
        fallback, schema = options.pop("fallback", ""), options.pop("schema", "")
        instead: System | None = Prompt(generator) if options.get("mode") == "prefer" else None
        if fallback:
            instead = self.system(fallback, groups=groups)
        decider = load_decider(self._decider_path(name), self._decider_made_from(name))
        form = self._schema(name, schema) if schema else None
        return RAG(
            generator,
            retriever,
            name=name,
            fallback=instead,
            decider=decider,
            schema=form,
            rewrite=rewrite,
            **options,
        )

    def retriever(self, name: str, *, groups: Sequence[str] | None = None) -> Retriever:
        """A retriever over this project's corpus, one of `RETRIEVERS`, or over what `groups` may read of it."""
        from bakeoff.retrieval import BM25, Dense, Hybrid, Reranked

        if name not in RETRIEVERS:
            raise UnknownNameError("retriever", name, RETRIEVERS)
        index: Index = self.corpus if groups is None else self.corpus.readable_by(groups)
        if name == "bm25":
            return BM25(index)
        if name == "dense":
            return Dense(index)
        hybrid = Hybrid(BM25(index), Dense(index))
        return (
            hybrid if name == "hybrid" else Reranked(hybrid, self._reranker(index), depth=self.config.retrieval.depth)
        )

    @cached_property
    def metrics(self) -> list[str | Scoring]:
        """Those of `[compare]`, the deciding one first; with options from `[metrics.<name>]` they are built here."""
        from bakeoff.evaluation.metrics import check_deciding

        check_deciding(self.config.compare.metrics)
        return [self.metric(name) for name in self.config.compare.metrics]

    def metric(self, name: str) -> str | Scoring:
        """The metric `name` as this project has it."""
        from bakeoff.evaluation.metrics import Scoring

        module, options = plugins.module("metrics", name), self.config.metrics.get(name)
        make = getattr(module, "make", None)
        if make is None and options is None:
            return name
        options = options or {}
        if make is None:
            raise ConfigError(f"{config.FILE} [metrics.{name}]: the metric {name!r} has no options; delete the table")
        config.check_options(f"{config.FILE} [metrics.{name}]", options, make, also={})
        return Scoring(name, module.VERSION, make(self.folder, **options), str(options.get("model", "")))

    @cached_property
    def _reading(self) -> Reading:
        from bakeoff.examples import read_examples

        path = self.config.examples.path
        return read_examples(path if path.startswith("datasets:") else self.folder / path)

    def _has_files(self, base: str) -> bool:
        return base != "scripted" and not base.startswith(("http://", "https://"))

    def _is_tuned(self, path: Path) -> bool:
        return (path / "checkpoint.json").is_file()

    def _first(self) -> str:
        kinds = {name: options["type"] for name, options in self.config.systems.items()}
        return next((name for name, kind in kinds.items() if kind == "rag"), next(iter(kinds), ""))

    def _plain_rag(self) -> tuple[str, RAG]:
        """The first system of type rag that nothing was trained for, with its name; else one with the defaults."""
        from bakeoff.systems import RAG

        trained = ("tuned", "mode", "template", "schema")
        for name, options in self.config.systems.items():
            if options["type"] == "rag" and not any(option in options for option in trained):
                system = self.system(name)
                assert isinstance(system, RAG)  # what `type = "rag"` builds
                return name, system
        self._require_index()
        return "", RAG(self._generator(""), self.retriever("hybrid"))

    def _decider_path(self, name: str) -> Path:
        return self.folder / "deciders" / f"{name}.json"

    def _decider_made_from(self, name: str) -> str:
        """What a decider was fitted to: another prompt, model or corpus needs another."""
        aside = ("mode", "fallback", "instead", "decider", "engine")
        settings = {key: value for key, value in self._settings(name).items() if key not in aside}
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()

    def _schema(self, name: str, path: str) -> dict[str, object]:
        where = f"{config.FILE} [systems.{name}] schema"
        try:
            found = json.loads((self.folder / path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{where}: {path} cannot be read as a JSON schema: {error}") from error
        if not isinstance(found, dict):
            raise ConfigError(f"{where}: {path} is not a JSON schema, which is an object")
        return found

    @property
    def _fit_path(self) -> Path:
        return self.folder / "reranker.json"

    def _reranker(self, index: Index) -> Reranker:
        options = self.config.retrieval
        model = str(self.folder / options.model) if options.model else ""
        if options.reranker == "learned" and not model:
            if not self._fit_path.is_file():
                raise ConfigError("the reranker is not fitted yet; run `bakeoff fit`, or use the retriever hybrid")
            model = str(self._fit_path)
        return plugins.get("rerankers", options.reranker)(index, model=model)

    def _search(self, options: dict[str, Any], groups: Sequence[str] | None) -> tuple[Retriever, Rewrite]:
        """What `SEARCH` describes; where a model is asked, it is the base, since a tuned one has learnt to answer."""
        from bakeoff.retrieval import Expanded, Iterative, Standalone, with_earlier

        retriever, base = self.retriever(options.get("retriever", "hybrid"), groups=groups), self._generator("")
        if options.get("hops", 1) > 1:
            retriever = Iterative(retriever, hops=options["hops"])
        if options.get("expand", "none") != "none":
            retriever = Expanded(retriever, base, how=options["expand"])
        rewrites: dict[str, Rewrite] = {
            "earlier": with_earlier,
            "model": Standalone(base),
            "none": lambda question: (question.text,),
        }
        return retriever, rewrites[options.get("rewrite", "earlier")]

    def _require_index(self) -> None:
        if not self.corpus.store.sources():
            sources = ", ".join(self.config.corpus.sources) or "a folder"
            raise ConfigError(f"the index is empty; run `bakeoff ingest` first, with documents in {sources}")

    def _require_tuned(self, name: str) -> None:
        if not self._is_tuned(self._checkpoint_path(name)):
            raise ConfigError(f"the checkpoint {name!r} is not there yet; run `bakeoff tune {name}`")
        if not self._stands_on_base(name):
            base = json.loads((self._checkpoint_path(name) / "checkpoint.json").read_text())["base"]
            raise ConfigError(
                f"the checkpoint {name!r} stands on {base!r} as it was then, not on today's base {self.config.base!r}; "
                f"run `bakeoff tune {name}`, or name that base again"
            )

    def _stands_on_base(self, name: str) -> bool:
        """Whether the checkpoint of that name, which is there, was trained on what `base` names now."""
        from bakeoff.models.weights import resolve

        manifest = json.loads((self._checkpoint_path(name) / "checkpoint.json").read_text())
        base = self.config.base
        return self._has_files(base) and bool(manifest["base_fingerprint"] == resolve(base).fingerprint)

    def _generator(self, tuned: str) -> Generator:
        """The base, or a checkpoint on it; those that one engine can switch between share its model."""
        from bakeoff.models import generator
        from bakeoff.models.local import Local
        from bakeoff.models.weights import resolve

        if tuned:
            self._require_tuned(tuned)
        if not self._tuned:
            ready = [
                path
                for name in self.config.tune
                if ((path := self._checkpoint_path(name)) / "adapter.gguf").is_file() and self._stands_on_base(name)
            ]
            self._tuned[""] = generator(self.config.base, adapters=ready, reuse=self._reuse)
        if tuned not in self._tuned:
            weights = resolve(str(self._checkpoint_path(tuned)))
            able = (one for one in self._tuned.values() if isinstance(one, Local) and one.carries(weights))
            base = next(able, None)
            self._tuned[tuned] = base.using(weights) if base else generator(weights.name)
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
        from bakeoff.corpus.access import may_fit
        from bakeoff.systems.tools.sql import Database

        def readable(source: Source, table: str) -> bool:
            # A statement sees whole tables, so rows that only some may read close the table to all but everybody.
            closed = groups is not None and any(
                may_fit(p, f"{source.name}/{table}/") for p in self.config.corpus.access
            )
            return source.choice.table in ("", table) and not closed

        # Whoever gave a query has opened what it finds, not the tables behind it.
        found = [source for source in self._sources(()) if source.kind == "sqlite" and not source.choice.query]
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

    def _settings(self, name: str, *, learnt: bool = True) -> dict[str, Any]:
        """What the answers of a system depend on: a run is resumed only if it is unchanged.

        Without `learnt` its checkpoint and its decider are left out, which need not be there then.
        """
        from bakeoff.models import engine
        from bakeoff.systems.prompt import target

        options = self._options("systems", name)
        # Another engine, on another machine, rounds otherwise.
        settings = {"base": self.config.base, "engine": engine(self.config.base), "seed": self.config.seed, **options}
        if learnt and (tuned := options.get("tuned")):
            self._require_tuned(tuned)
            settings["checkpoint"] = json.loads((self._checkpoint_path(tuned) / "checkpoint.json").read_text())["files"]
        if options["type"] in ("rag", "react"):
            settings["corpus"] = self.corpus.fingerprint()
        path = self._decider_path(name)
        if learnt and options.get("mode", "always") != "always" and path.is_file():
            settings["decider"] = hashlib.sha256(path.read_bytes()).hexdigest()
        if options.get("retriever") == "reranked":
            fit = self._fit_path.read_text() if self._fit_path.is_file() else ""
            settings["reranker"] = {**asdict(self.config.retrieval), "fit": fit}
        if schema := options.get("schema"):
            file = self.folder / schema
            settings["form"] = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        if fallback := options.get("fallback"):
            settings["instead"] = self._settings(fallback, learnt=learnt)
        if shots := options.get("shots"):
            shown = [(shot.question, target(shot)) for shot in self.split.train[:shots]]
            settings["shown"] = hashlib.sha256(json.dumps(shown).encode()).hexdigest()
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
        options_of: dict[str, tuple[Callable[..., object] | None, dict[str, Any]]] = {
            "classifier": (None, {}),
            "prompt": (Prompt.__init__, {"shots": int}),
            "rag": (RAG.__init__, {**SEARCH, "fallback": str, "schema": str}),
            "react": (ReAct.__init__, {"retriever": str, "tools": list}),
        }
        function, also = options_of[kind]
        config.check_options(where, options, function, also={"type": str, "tuned": str, **also})
        if options.get("tuned", "") not in ("", *self.config.tune):
            raise ConfigError(f"{where} tuned: {UnknownNameError('checkpoint', options['tuned'], self.config.tune)}")
        if kind == "rag" and (template := options.get("template", "answer")) not in TEMPLATES:
            raise ConfigError(f"{where} template: {UnknownNameError('template', template, TEMPLATES)}")
        asked = [name]
        while fallback := self.config.systems.get(asked[-1], {}).get("fallback", ""):
            if fallback not in self.config.systems:
                raise ConfigError(f"{where} fallback: {UnknownNameError('system', fallback, self.config.systems)}")
            if fallback in asked:
                chain = " -> ".join([*asked, fallback])
                raise ConfigError(f"{where} fallback: {chain} comes back to itself; name a system that asks no other")
            asked.append(fallback)
        for tool in options.get("tools", ()):
            if tool not in NAMES:
                raise ConfigError(f"{where} tools: {UnknownNameError('tool', str(tool), NAMES)}")

    def _checkpoint_path(self, name: str) -> Path:
        return self.folder / "checkpoints" / name

    def _sources(self, named: Sequence[str]) -> list[Source]:
        """Paths in them are relative to the project's folder."""
        from bakeoff.corpus.addresses import parse

        found = [parse(source, self.folder) for source in named or self.config.corpus.sources]
        if not found:
            raise ConfigError(f"no sources: name some, or list them under [corpus] sources in {config.FILE}")
        return found
