"""Find and load plug-ins: the file name is the plug-in's name, and the file exposes one well-known object.

A plug-in is imported only when it is named, so its third-party imports cost nothing before.
Packages of others join through entry points in the groups `bakeoff.stores`, `bakeoff.metrics` and so on.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Literal, overload

from bakeoff.errors import MissingPackageError, UnknownNameError
from bakeoff.types import Embedder, Generator, Metric, Reranker, Store, Tune


@dataclass(frozen=True, slots=True)
class Kind:
    """A folder of interchangeable files."""

    package: str
    exposes: str
    extras: dict[str, str]
    """Third-party module -> the extra that installs it."""


KINDS = {
    "loaders": Kind("bakeoff.corpus.loaders", "load", dict.fromkeys(("pptx", "odfdo", "oxmsg", "striprtf"), "formats")),
    "stores": Kind("bakeoff.corpus.stores", "Store", {"psycopg": "postgresql"}),
    "generators": Kind(
        "bakeoff.models.generators",
        "Generator",
        {"torch": "tune", "transformers": "tune", "peft": "tune", "openai": "openai"},
    ),
    "embedders": Kind("bakeoff.models.embedders", "Embedder", {"torch": "tune"}),
    "methods": Kind(
        "bakeoff.tuning.methods", "tune", {"torch": "tune", "transformers": "tune", "peft": "tune", "sklearn": "tune"}
    ),
    "rerankers": Kind("bakeoff.retrieval.rerankers", "Reranker", {"torch": "tune", "transformers": "tune"}),
    "metrics": Kind("bakeoff.evaluation.metrics", "score", {}),
}


def names(kind: str) -> list[str]:
    """All plug-ins of a kind, ours and installed ones, sorted; nothing is imported but the folder itself."""
    folder = importlib.import_module(KINDS[kind].package)
    ours = [module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_")]
    return sorted({*ours, *(entry.name for entry in entry_points(group=f"bakeoff.{kind}"))})


def module(kind: str, name: str) -> ModuleType:
    """Import the plug-in `name`.

    Raises `UnknownNameError` with the known names, and `MissingPackageError` with the pip command.
    """
    spec = KINDS[kind]
    for entry in entry_points(group=f"bakeoff.{kind}", name=name):
        return importlib.import_module(entry.module)
    if name not in names(kind):
        raise UnknownNameError(kind.removesuffix("s"), name, names(kind))
    try:
        return importlib.import_module(f"{spec.package}.{name}")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in spec.extras:
            raise
        raise MissingPackageError(f"{kind.removesuffix('s')} {name!r}", package, spec.extras[package]) from error


@overload
def get(kind: Literal["stores"], name: str) -> Callable[..., Store]: ...
@overload
def get(kind: Literal["generators"], name: str) -> Callable[..., Generator]: ...
@overload
def get(kind: Literal["embedders"], name: str) -> Callable[..., Embedder]: ...
@overload
def get(kind: Literal["rerankers"], name: str) -> Callable[..., Reranker]: ...
@overload
def get(kind: Literal["methods"], name: str) -> Tune: ...
@overload
def get(kind: Literal["metrics"], name: str) -> Metric: ...
def get(kind: str, name: str) -> Any:
    """The well-known object of the plug-in `name`: `stores` -> its class `Store`, `metrics` -> its `score`."""
    return getattr(module(kind, name), KINDS[kind].exposes)
