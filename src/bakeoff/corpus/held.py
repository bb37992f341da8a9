"""What a sync remembers of every document, in a few bytes each: as strings it would outgrow all the rest together."""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
"""Ids that are packed together."""


class Held:
    """The documents of one source in a store, and what they were made from, in 16 bytes each.

    Hashes stand for ids and stamps. They are salted anew in each process, so that two ids that meet - of a million
    documents once in ten million syncs - part again in the next sync.
    """

    def __init__(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """`entries`: id, stamp, and the reason it failed or ""."""
        ids, pairs = array("q"), array("q")
        self.failed: dict[str, str] = {}
        for id, stamp, reason in entries:
            ids.append(hash(id))
            pairs.append(hash((id, stamp)))
            if reason:
                self.failed[id] = reason
        self._ids, self._pairs = np.asarray(ids), np.asarray(pairs)
        self._ids.sort()
        self._pairs.sort()
        self._seen = np.zeros(len(ids), dtype=bool)

    def stamped(self, id: str, stamp: str) -> bool:
        """Whether the document is held, and was made from this."""
        return _place(self._pairs, hash((id, stamp))) is not None

    def reads(self, id: str) -> bool:
        """Whether the document is held, and could be read."""
        return _place(self._ids, hash(id)) is not None and id not in self.failed

    def see(self, id: str) -> None:
        """Remember that the source still has it."""
        place = _place(self._ids, hash(id))
        if place is not None:
            self._seen[place] = True

    def unseen(self, entries: Iterable[tuple[str, str, str]]) -> list[str]:
        """Ids of the `entries` that were not seen."""
        gone = set(self._ids[~self._seen].tolist())
        return [id for id, _, _ in entries if hash(id) in gone] if gone else []


class Ids(Sequence[str]):
    """Many ids, in the order in which they came, packed to a few bytes each; equal to a tuple of them."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._packed: list[bytes] = []
        self._last: list[str] = []
        for id in ids:
            self.append(id)

    def append(self, id: str) -> None:
        self._last.append(id)
        if len(self._last) == BLOCK:
            # JSON, for names of files may hold what is no UTF-8.
            self._packed.append(zlib.compress(json.dumps(self._last).encode()))
            self._last = []

    def __len__(self) -> int:
        return BLOCK * len(self._packed) + len(self._last)

    def __iter__(self) -> Iterator[str]:
        for packed in self._packed:
            yield from _unpacked(packed)
        yield from self._last

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return tuple(self)[place]
        block, within = divmod(range(len(self))[place], BLOCK)
        return (_unpacked(self._packed[block]) if block < len(self._packed) else self._last)[within]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return repr(tuple(self))


def _unpacked(packed: bytes) -> list[str]:
    ids: list[str] = json.loads(zlib.decompress(packed))
    return ids


def _place(ordered: NDArray[np.int64], wanted: int) -> int | None:
    place = int(np.searchsorted(ordered, wanted))
    return place if place < len(ordered) and ordered[place] == wanted else None
