"""`bakeoff.toml`: read, checked, frozen. The signature is the schema: options of systems and methods are checked
against the keyword-only parameters of what they configure."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bakeoff.errors import ConfigError, UnknownNameError

FILE = "bakeoff.toml"
TUNE: Mapping[str, Any] = {
    "method": str,
    "lesson": str,
    "seed": int,
    "canaries": bool,
    "replay": float,
    "replay_from": str,
    "paraphrases": int,
}
"""Keys of a `[tune.<name>]` table whatever its method."""


LEAST = {"k": 1, "shots": 0, "max_tokens": 1, "budget": 1, "hops": 0}
"""Options of systems that are counts, and the smallest that makes sense."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """`[corpus]`"""

    sources: tuple[str, ...] = ()
    """Folders, files and `sqlite:///file.db`, relative to the project; `postgresql://` and `mysql://` databases; pages,
    sitemaps and feeds of `hosts`. `${NAME}` comes from the environment."""
    embedder: str = "minilm-int8"
    store: str = "sqlite"
    """Or a server: "postgresql://user@host/database?schema=name"."""
    vectors: str = "exact"
    """Or "approximate": much faster from a hundred thousand passages on, and misses a few in a thousand of the best."""
    chunk_tokens: int = 128
    headers: bool = False
    """Embed title and section with each passage: helps short pages a little, hurts long papers much."""
    hosts: tuple[str, ...] = ()
    """From which pages may be fetched, as in "docs.example.org"; none by default."""
    access: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Pattern of document ids, as in "hr/*" -> groups that may read them; what none fits is everybody's."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """`[retrieval]`, for the retriever "reranked" """

    reranker: str = "learned"
    """`learned` needs `bakeoff fit` first."""
    model: str = ""
    """Folder of a cross-encoder's weights."""
    depth: int = 50
    """Hits that are reranked."""


@dataclass(frozen=True, slots=True)
class Examples:
    """`[examples]`"""

    path: str = "questions.jsonl"
    """JSONL, JSON, CSV, TSV or Parquet, a folder with a file for each part, or "datasets:owner/name"."""
    test: float = 0.3
    valid: float = 0.1
    allow_personal: bool = False
    """Go on although examples hold personal data or secrets."""


@dataclass(frozen=True, slots=True)
class Compare:
    """`[compare]`"""

    metrics: tuple[str, ...] = ("recall", "exact", "f1", "support", "retrieval_recall", "ndcg")
    """The first one decides."""
    baseline: str = ""
    delta: float = 0.03
    """How much worse, as a share of questions, the cheaper system may be."""
    max_p95_seconds: float = 0.0
    """A hard limit on the 95th percentile of latency; 0 means none."""
    max_dollars: float = 0.0
    """A hard limit on what 1,000 questions cost, where a price is known or given; 0 means none."""
    max_prompt_tokens: float = 0.0
    """A hard limit on a question in prompt-token equivalents (fresh + 0.1 x cached + 5 x written); 0 means none."""
    parallel: int = 0
    """Questions asked at a time; 0: one a core for a small local model, 8 for an endpoint. A local model's answers stay
    the same; latency is measured on 30 questions that are asked one by one."""


@dataclass(frozen=True, slots=True)
class Costs:
    """`[costs]`, in dollars; where a price is given or known, dollars decide which of two systems is cheaper."""

    device_hour: float = 0.0
    """An hour of the machine that runs your models; 0: unknown, and 0.10 is assumed for the page."""
    utilisation: float = 0.3
    """Share of the time in which that machine has work."""
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Model of an endpoint -> `{input = 0.15, cached = 0.075, output = 0.6}` for a million tokens, where genai-prices
    does not know it or you pay something else."""
    questions: float = 100_000.0
    """Asked over the life of the system."""
    changes: float = 0.0
    """Changes of a document over that life which answers must follow: what reads documents indexes it again, what was
    tuned without them trains again."""
    wrong_answer: float = 0.0
    """What a wrong answer costs you."""
    labour_hour: float = 0.0
    """An hour of those who write examples."""
    labelling_minutes: float = 0.0
    """Their time for one example."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole `bakeoff.toml`."""

    base: str = "smollm2-135m"
    seed: int = 7
    corpus: Corpus = Corpus()
    retrieval: Retrieval = Retrieval()
    examples: Examples = Examples()
    compare: Compare = Compare()
    costs: Costs = Costs()
    systems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> `type` and its options."""
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metric -> its options, of metrics that have some."""
    tune: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Checkpoint name -> `method`, `lesson` (the system whose prompts it learns to answer), `start` (the checkpoint
    whose LoRA it trains further), `canaries`, `replay` (general conversations on one lesson), `replay_from` (a file of
    them) and the method's options. `pretrain` reads the documents; `paraphrases`: how often each is said again."""


def read(folder: Path) -> Config:
    """Read `folder/bakeoff.toml`; raises `ConfigError` with the path of the wrong key."""
    path = folder / FILE
    if not path.is_file():
        raise ConfigError(f"there is no {FILE} in {folder.resolve()}; run `bakeoff init`, or go to a project's folder")
    try:
        config: Config = _build(Config, tomllib.loads(path.read_text(encoding="utf-8")), FILE)
        _check_ranges(config)
        return config
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _check_ranges(config: Config) -> None:
    shares = {
        "[compare] delta": config.compare.delta,
        "[examples] test": config.examples.test,
        "[examples] valid": config.examples.valid,
        "[costs] utilisation": config.costs.utilisation,
    }
    for where, share in shares.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"{FILE} {where} is {share}, but must be a share from 0 to 1, as 0.03 for 3 percent")
    least = {"[retrieval] depth": (config.retrieval.depth, 1), "[compare] parallel": (config.compare.parallel, 0)}
    for name, options in config.systems.items():
        given = {option: options[option] for option in LEAST if isinstance(options.get(option), int)}
        least |= {f"[systems.{name}] {option}": (number, LEAST[option]) for option, number in given.items()}
    for where, (number, bound) in least.items():
        if number < bound:
            raise ConfigError(f"{FILE} {where} is {number}, but must be {bound} or more")
    for pattern, groups in config.corpus.access.items():
        if not groups or not all(isinstance(group, str) and group.strip() for group in groups):
            raise ConfigError(
                f'{FILE} [corpus.access] "{pattern}" names no group that may read it, and would leave it open to all; '
                'name one, as in ["hr"]'
            )
    if config.compare.baseline and config.compare.baseline not in config.systems:
        raise UnknownNameError(f"baseline in {FILE} [compare]:", config.compare.baseline, config.systems)


def check_options(
    where: str, options: Mapping[str, Any], function: Callable[..., Any] | None, *, also: Mapping[str, Any]
) -> None:
    """Check option names and types against `function`'s keyword-only parameters and `also`.

    Raises `ConfigError` naming the wrong option, and the known ones with their types.
    """
    known = {**_keywords(function), **also} if function else dict(also)
    for name, value in options.items():
        if name not in known:
            raise ConfigError(str(UnknownNameError(f"option in {where}:", name, known)))
        _check_type(f"{where}.{name}", value, known[name])


def _build(kind: type[Any], table: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]
    values = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(str(UnknownNameError(f"key in {where}:", name, known)))
        inner = f"{where} [{name}]" if isinstance(value, dict) else f"{where} {name}"
        if hasattr(hints[name], "__dataclass_fields__"):
            _check_type(inner, value, dict)
            values[name] = _build(hints[name], value, inner)
        elif get_origin(hints[name]) is tuple:
            _check_type(inner, value, list)
            values[name] = tuple(value)
        else:
            _check_type(inner, value, dict if get_origin(hints[name]) else hints[name])
            if get_args(hints[name])[1:] == (Sequence[str],):
                for key, entry in value.items():
                    _check_type(f"{inner} {key!r}", entry, list)
            values[name] = value
    return kind(**values)


def _keywords(function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function)
    keyword = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {name: hints[name] for name in keyword if name != "name" and _plain(hints[name])}


def _plain(hint: Any) -> bool:
    """Whether TOML can hold a value of this type."""
    return hint in (str, int, float, bool) or get_origin(hint) is Literal or str in get_args(hint)


def _check_type(where: str, value: Any, wanted: Any) -> None:
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ConfigError(f"{where}: {UnknownNameError('value', str(value), get_args(wanted))}")
        return
    accepted = (int, float) if wanted is float else wanted if isinstance(wanted, type) else object
    if not isinstance(value, accepted) or (isinstance(value, bool) and wanted in (int, float)):
        raise ConfigError(f"{where} is {value!r}, but must be of type {getattr(wanted, '__name__', wanted)}")
