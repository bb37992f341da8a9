"""What a sync remembers of many documents."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.corpus.held import Held, Ids


@given(st.lists(st.text()), st.integers(-9, 9))
def test_ids_behave_as_the_tuple_of_them(ids: list[str], place: int) -> None:
    held = Ids(ids)
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


def test_a_hundred_thousand_ids_take_less_than_three_megabytes() -> None:
    held = Ids(f"docs/{n:06}.md" for n in range(100_000))
    assert sys.getsizeof(held._bytes) + sys.getsizeof(held._ends) < 3 << 20
