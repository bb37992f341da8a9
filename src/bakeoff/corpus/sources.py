"""Where documents come from: files, rows of databases, pages of the web. Each becomes a stream of items."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bakeoff import plugins
from bakeoff.corpus import tables
from bakeoff.corpus.addresses import Source, escaped
from bakeoff.corpus.loaders import Loaded
from bakeoff.corpus.parsing import SECONDS, Parser
from bakeoff.corpus.rows import Current, Database, Row, read, relations, spooled
from bakeoff.errors import DataError, MissingPackageError

if TYPE_CHECKING:
    from bakeoff.corpus.web import Fetcher, Page


class Unreachable(DataError):
    """The document may still be there: what is held of it stays."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that becomes a document."""

    id: str
    digest: str
    """Of the content and of what will read it."""
    load: Callable[[Parser], Loaded]
    """Raises `DataError` with the reason where it cannot be read."""
    problem: str = ""
    """Why it cannot be read, where that is known before it is tried."""
    target: str = ""
    """What a link leads to, as an id; rules of access are written for that one, too."""
    hides: str = ""
    """How the ids begin of what may still be there, but cannot be listed: what is held of them stays."""


def items(source: Source, hosts: Sequence[str], current: Current) -> tuple[int, Iterator[Item]]:
    """How many (0: not known before the end), and each of them; in a fixed order, read as it is asked for.

    `hosts`: from which pages may be fetched. `current`: called with an id and a digest, whether that item will not be
    loaded, so that it need not be kept or even fetched.
    """
    if source.kind in ("sqlite", "server"):
        with _database(source) as database:
            choice, prefix = source.choice, f"{source.name}/"
            total, found = spooled(read(database, choice, lambda id, digest: current(prefix + id, digest)))
        return total, (_row(prefix, row) for row in found)
    if source.kind == "web":
        from bakeoff.corpus.web import Fetcher

        return 0, _pages(source, Fetcher(hosts))
    root, known = Path(source.address), loaders()
    if not root.is_dir():
        return 1, iter([_file(source.name, root, root.parent, known)])
    # Listed twice rather than held: the names of a million files take more memory than all the rest.
    files = (
        _unlisted(_id(source, found.filename), found)
        if isinstance(found, OSError)
        else _file(_id(source, found), found, root, known, source.name)
        for found in _files(root)
    )
    return sum(1 for _ in _files(root)), files


def names(source: Source) -> Iterator[str]:
    """What a rule of access can speak of, found without reading it: ids of files, and how other ids may begin.

    Such beginnings, with a `/` at the end, stand for tables, sites, servers that are down, and folders that are empty
    or cannot be listed.
    """
    root = Path(source.address)
    if source.kind in ("sqlite", "server"):
        try:
            with _database(source) as database:
                found = [f"{source.name}/{relation.name}/" for relation in relations(database, source.choice)]
        except Unreachable:
            found = [f"{source.name}/"]
        yield from found
    elif source.kind == "web":
        yield f"{source.name}/"
    elif not root.is_dir():
        yield source.name
    else:
        errors: list[OSError] = []
        for folder, folders, files in _walk(root, errors):
            yield from (_id(source, Path(folder, name)) for name in files)
            if not folders and not files:
                yield f"{_id(source, folder)}/"
        yield from (f"{_id(source, error.filename)}/" for error in errors)


# ---------------------------------------------------------------- files


def _files(root: Path) -> Iterator[Path | OSError]:
    """Files below `root` and links to folders, and why a folder cannot be listed; in a fixed order."""
    errors: list[OSError] = []
    for folder, _, files in _walk(root, errors):
        yield from errors
        errors.clear()
        yield from (Path(folder, name) for name in files)
    yield from errors


def _walk(root: Path, errors: list[OSError]) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, without what is hidden; a link to a folder is told like a file, for nobody follows it."""
    for folder, folders, files in os.walk(root, onerror=errors.append):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in links)
        yield folder, folders, sorted(name for name in files + links if not name.startswith((".", "~$")))


def _id(source: Source, path: str | Path) -> str:
    label = escaped(Path(path).relative_to(source.address).as_posix())
    return source.name if label == "." else f"{source.name}/{label}"


def _file(id: str, path: Path, root: Path, known: Mapping[str, Loader], top: str = "") -> Item:
    """What is at `path`; ids below `root` begin with `top`.

    The digest is of the bytes; times of change lie when files are copied or restored.
    """
    loader = known.get(path.suffix.lower())
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
        return _refused(id, "it is a link that leads out of the source")
    if path.is_dir():
        return _refused(id, "it is a link to a folder, and those are not followed")
    if not path.is_file():
        return _refused(id, "it is not a regular file")
    if loader is None:
        suffix = escaped(path.suffix) or "files without a suffix"
        return _refused(id, f"no loader for {suffix}; `bakeoff list loaders` shows what is read")
    if loader.missing:
        return _refused(id, loader.missing)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return _refused(id, f"cannot be opened: {error.strerror}")
    target = ""
    if path.is_symlink():
        target = f"{top}/{escaped(Path(os.path.realpath(path)).relative_to(root).as_posix())}"
    made_from = f"{digest} {loader.name} {loader.version}"
    return Item(id, made_from, lambda parser: parser.load(loader.name, path, loader.seconds), target=target)


def _refused(id: str, problem: str) -> Item:
    return Item(id, problem, partial(_raise, DataError(problem)), problem)


def _unlisted(id: str, error: OSError) -> Item:
    problem = Unreachable(f"cannot be listed ({error.strerror}); what was indexed of it stays")
    return Item(id, "", partial(_raise, problem), str(problem), hides=f"{id}/")


def _raise(error: DataError, parser: Parser) -> Loaded:
    raise error


@dataclass(frozen=True, slots=True)
class Loader:
    """A plug-in that reads files."""

    name: str
    version: int | str = 0
    missing: str = ""
    """What to install before it can."""
    seconds: float = SECONDS
    """For one file, by the clock."""


def loaders() -> dict[str, Loader]:
    """Suffix -> loader. Looking takes 0.1 s, for every installed package may bring some."""
    found: dict[str, Loader] = {}
    for name in plugins.names("loaders"):
        try:
            module = plugins.module("loaders", name)
            found |= dict.fromkeys(
                module.SUFFIXES, Loader(name, module.VERSION, seconds=getattr(module, "SECONDS", SECONDS))
            )
        except MissingPackageError as error:
            found[f".{name}"] = Loader(name, missing=str(error))
    return found


# ---------------------------------------------------------------- databases and the web


def _database(source: Source) -> AbstractContextManager[Database]:
    query = source.choice.query
    hint = f"; {query.name} must be one SELECT that only reads" if query else ""
    if source.kind == "sqlite":
        return tables.opened(Path(source.address), hint)
    from bakeoff.corpus import databases

    return databases.opened(source.address, source.label, hint)


def _row(prefix: str, row: Row) -> Item:
    id = prefix + row.id
    if row.problem:
        return Item(id, row.digest, partial(_raise, DataError(row.problem)), row.problem)
    return Item(id, row.digest, partial(_loaded, Loaded(row.text or "", row.title)))


def _loaded(loaded: Loaded, parser: Parser) -> Loaded:
    return loaded


def _pages(source: Source, fetcher: Fetcher) -> Iterator[Item]:
    known, seen = loaders(), set[str]()
    for address, page, lists in fetcher.pages(source.address):
        id = _page_id(source, address)
        if id in seen:  # /a and /a/ are two addresses of a page
            continue
        seen.add(id)
        if isinstance(page, DataError):
            yield Item(id, str(page), partial(_raise, page), str(page), hides=f"{source.name}/" if lists else "")
            continue
        loader = known[page.suffix]
        digest = hashlib.sha256(page.data).hexdigest()
        yield Item(id, f"{digest} {loader.name} {loader.version}", partial(_page, page, loader))


def _page_id(source: Source, address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # it is refused under the name that it has
        return f"{source.name}/{address}"
    path = f"{parts.path.strip('/') or 'index'}{f'?{parts.query}' if parts.query else ''}"
    of_host = parts.netloc == urlsplit(source.address).netloc
    return f"{source.name}/{path}" if of_host else f"{source.name}/{parts.netloc}/{path}"


def _page(page: Page, loader: Loader, parser: Parser) -> Loaded:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"page{page.suffix}"
        path.write_bytes(page.data)
        return parser.load(loader.name, path, loader.seconds)
