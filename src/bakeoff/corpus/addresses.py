"""Sources as they are written, in `bakeoff.toml` or on the command line, and what they mean."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from bakeoff.corpus.rows import Choice
from bakeoff.errors import DataError

SERVERS = ("postgresql", "mysql", "mariadb")
"""Databases that are read through SQLAlchemy."""
SERVER = re.compile(
    r"(?P<scheme>\w+://)(?P<user>[^@/?#]*@)?(?P<host>\[[^\]]*\]|[^@/?#:]*)(?P<port>:[^@/?#:]+)?"
    r"/(?P<database>[^@/?#]+)(\?(?P<options>[^#]*))?"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One of the things that `Corpus.sync` is given."""

    name: str
    kind: Literal["files", "sqlite", "server", "web"]
    address: str = field(repr=False)
    """An absolute path, or a URL; may hold a password."""
    choice: Choice = field(default_factory=Choice)
    """Of a database."""

    @property
    def label(self) -> str:
        """The address as it may be stored and shown."""
        if self.kind in ("files", "sqlite"):
            return escaped(self.address)
        parts = urlsplit(self.address)
        query = "" if self.kind == "server" else parts.query  # libpq takes passwords there too
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


def parse(text: str, folder: Path = Path()) -> Source:
    """Understand a path, `sqlite:///file.db`, a URL, or `name=` and any of these; paths are relative to `folder`.

    `${NAME}` is taken from the environment. Raises `DataError` for a path where nothing is, and for an address that
    cannot be right, without repeating what may be a password.
    """
    name, equals, rest = text.partition("=")
    if not equals or any(mark in name for mark in "/\\?:$") or (folder / text).exists():
        name, rest = "", text
    name = escaped(name)
    if rest.startswith("${"):
        rest = filled(rest)
    scheme = rest.partition("://")[0] if "://" in rest else ""
    if scheme in ("http", "https"):
        host = _host(rest)
        return Source(name or host, "web", rest)
    if scheme in SERVERS:
        return _server(name, rest, folder)
    if scheme == "sqlite":
        return _sqlite(name, rest.removeprefix("sqlite:///"), folder)
    if scheme:
        raise DataError(f"{scheme}:// cannot be read; sources are paths, sqlite, {', '.join(SERVERS)}, http and https")
    path = folder / rest
    found = _existing(path if path.exists() else folder / filled(rest))
    return Source(name or escaped(path.resolve().name), "files", str(found))


def escaped(path: str) -> str:
    """`path` as it may be stored and shown: bytes of a name that are not UTF-8 as in `caf\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def filled(text: str, safe: str | None = None) -> str:
    """`text` with each `${NAME}` from the environment; quoted for a URL but for the characters `safe`, if given."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise DataError(f"{found[0]} is not set; set it in the environment of this command")
        return os.environ[found[1]] if safe is None else quote(os.environ[found[1]], safe=safe)

    return re.sub(r"\$\{(\w+)\}", value, text)


def _server(name: str, text: str, folder: Path) -> Source:
    found = SERVER.fullmatch(text)
    port = filled(found["port"] or "") if found else ""
    if not found or not re.fullmatch(r"(:\d+)?", port):
        raise DataError(
            "a server's address is like postgresql://user@host:5432/database; special characters of a password are"
            " written %XX, or it comes from the environment: postgresql://user:${PASSWORD}@host/database"
        )
    options = dict(parse_qsl(filled(found["options"] or "")))
    choice = _choice(options, folder)
    database = filled(found["database"])
    place = f"{filled(found['user'] or '', safe='')}{filled(found['host'])}{port}/{database}"
    address = f"{found['scheme']}{place}{f'?{urlencode(options)}' if options else ''}"
    _host(address)
    return Source(name or database, "server", address, choice)


def _sqlite(name: str, text: str, folder: Path) -> Source:
    file, _, options_text = filled(text).partition("?")
    options = dict(parse_qsl(options_text))
    choice = _choice(options, folder)
    if options:
        raise DataError(f"{file} has unknown options: {', '.join(options)}; known are table, query, key and updated")
    path = _existing(folder / file)
    return Source(name or escaped(path.name), "sqlite", str(path), choice)


def _host(address: str) -> str:
    """With its port, and what may be a password; raises `DataError` where it cannot be a host."""
    try:
        return urlsplit(address).netloc
    except ValueError as error:
        shown = address.rpartition("@")[2][:200]
        cure = "brackets belong around an IPv6 address, as in http://[::1]/"
        raise DataError(f"the host of {shown} cannot be understood; {cure}") from error


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"there is no source {path}; check the name, or remove it from the sources")
    return path.resolve()


def _choice(options: dict[str, str], folder: Path) -> Choice:
    """Takes what is ours out of `options`."""
    table, query, key, updated = (options.pop(name, "") for name in ("table", "query", "key", "updated"))
    if table and query:
        raise DataError(f"the source names the table {table} and the query {query}; make it two sources")
    if query and not key:
        raise DataError(f"which column tells the rows of {query} apart? name it: ?query={query}&key=id")
    if key and not (table or query):
        raise DataError(f"key={key} needs the table or query that it is the key of: ?table=orders&key={key}")
    if query and not (folder / query).is_file():
        raise DataError(f"there is no query {folder / query}; it is a file with one SELECT")
    return Choice(table, folder / query if query else None, tuple(filter(None, key.split(","))), updated)
