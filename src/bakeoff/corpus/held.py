"""What a sync remembers of every document, in a few bytes each: as strings it would outgrow all the rest together."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np


class Held:
    """The documents of one source in a store, and what they were made from, in 16 bytes each.

    Hashes stand for ids and stamps. They are salted anew in each process, so that two ids that meet - of a million
    documents once in ten million syncs - part again in the next sync.
    """

    def __init__(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """`entries`: id, stamp, and the reason it failed or ""."""
        ids, stamps = array("q"), array("q")
        self.failed: dict[str, str] = {}
        for id, stamp, reason in entries:
            ids.append(hash(id))
            stamps.append(hash(stamp))
            if reason:
                self.failed[id] = reason
        order = np.argsort(np.asarray(ids))
        self._ids, self._stamps = np.asarray(ids)[order], np.asarray(stamps)[order]

    def stamped(self, id: str, stamp: str) -> bool:
        """Whether the document is held, and was made from this."""
        place = self._place(id)
        return place is not None and bool(self._stamps[place] == hash(stamp))

    def reads(self, id: str) -> bool:
        """Whether the document is held, and could be read."""
        return self._place(id) is not None and id not in self.failed

    def unseen(self, seen: array[int], entries: Iterable[tuple[str, str, str]]) -> list[str]:
        """Ids of the `entries` whose hashes are not among those seen."""
        gone = set(np.setdiff1d(self._ids, np.asarray(seen)).tolist())
        return [id for id, _, _ in entries if hash(id) in gone] if gone else []

    def _place(self, id: str) -> int | None:
        place = int(np.searchsorted(self._ids, hash(id)))
        return place if place < len(self._ids) and self._ids[place] == hash(id) else None


class Ids(Sequence[str]):
    """Many ids in one buffer, in the order in which they came; equal to a tuple of them."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._bytes, self._ends = bytearray(), array("Q")
        for id in ids:
            self.append(id)

    def append(self, id: str) -> None:
        self._bytes += id.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield self._bytes[start:end].decode("utf-8", "surrogatepass")
            start = end

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return tuple(self)[place]
        place = range(len(self))[place]
        start = self._ends[place - 1] if place else 0
        return self._bytes[start : self._ends[place]].decode("utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return repr(tuple(self))
