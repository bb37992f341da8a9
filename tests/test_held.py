"""What a sync remembers of many documents."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.corpus import held as held_module
from bakeoff.corpus.held import Held, Ids

ANY = st.text(st.characters())
"""With surrogates: names of files may be no UTF-8."""


@given(st.lists(ANY), st.integers(-9, 9), st.sampled_from([1, 2, 3, 1024]))
def test_ids_behave_as_the_tuple_of_them(ids: list[str], place: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_module, "BLOCK", block)
        held_ids_are_a_tuple(Ids(ids), ids, place)


def held_ids_are_a_tuple(held: Ids, ids: list[str], place: int) -> None:
    assert held == tuple(ids) and list(held) == ids and len(held) == len(ids)
    assert held[place:] == tuple(ids)[place:]
    if -len(ids) <= place < len(ids):
        assert held[place] == ids[place]
    else:
        with pytest.raises(IndexError):
            held[place]


def test_ids_differ_from_others() -> None:
    assert Ids(["a", "b"]) != ("a",) and Ids(["ab"]) != ("a", "b") and Ids() != ("",)


@given(st.dictionaries(st.text(), st.tuples(st.text(), st.sampled_from(["", "torn"]))), st.sets(st.text()))
def test_held_documents_are_told_from_others(documents: dict[str, tuple[str, str]], seen: set[str]) -> None:
    entries = [(id, stamp, reason) for id, (stamp, reason) in documents.items()]
    held = Held(entries)
    for id in {*documents, *seen}:
        stamp, reason = documents.get(id, ("", "absent"))
        assert held.stamped(id, stamp) == (id in documents) and not held.stamped(id, stamp + "x")
        assert held.reads(id) == (reason == "")
    for id in seen:
        held.see(id)
    assert sorted(held.unseen(entries)) == sorted(set(documents) - seen)


def test_a_hundred_thousand_ids_take_less_than_half_a_megabyte() -> None:
    held = Ids(f"docs/{n:06}.md" for n in range(100_000))
    assert sum(map(sys.getsizeof, held._packed)) + sys.getsizeof(held._last) < 1 << 19
