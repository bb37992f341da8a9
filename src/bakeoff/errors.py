"""Everything a user can act on.

    BakeoffError                one line: what, where, the cure; shown without a traceback
    +-- ConfigError             bakeoff.toml or a flag
    +-- DataError               a question file, a document, a spreadsheet, a database
    +-- ModelError              weights, a checkpoint, an endpoint
        +-- UnreachableError    an endpoint that gives no answer to anything
    +-- MissingPackageError     an extra that is not installed
    +-- UnknownNameError        no plug-in, system or metric of that name
    +-- StoreError              the index on disk

Anything else that is raised is a fault of ours and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class BakeoffError(Exception):
    """A problem that the user can mend; `str()` is one line with the cure."""


class ConfigError(BakeoffError):
    """`bakeoff.toml` or a flag is wrong."""


class DataError(BakeoffError):
    """A file or a database cannot be used as it is."""


class ModelError(BakeoffError):
    """Weights, a checkpoint or an endpoint cannot be used."""


class UnreachableError(ModelError):
    """An endpoint that would not answer another question either: it is down, overloaded, or does not let us in."""


class StoreError(BakeoffError):
    """The index on disk cannot be read or written."""


class MissingPackageError(BakeoffError):
    """A package of an optional extra is missing."""

    def __init__(self, wanted_by: str, package: str, extra: str) -> None:
        super().__init__(f"{wanted_by} needs the package {package!r}: pip install 'bakeoff[{extra}]'")


class UnknownNameError(BakeoffError):
    """A name that nothing answers to."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}known are {', '.join(known) or 'none'}")
