"""Documents, kept fresh and searchable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bakeoff.corpus.sync import Corpus

__all__ = ["Corpus"]


def __getattr__(name: str) -> Any:
    # The parsing process imports this package too, and must start quickly.
    if name == "Corpus":
        from bakeoff.corpus.sync import Corpus

        return Corpus
    raise AttributeError(name)
