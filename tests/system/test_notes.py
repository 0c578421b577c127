"""Notes raised inside library code."""

from __future__ import annotations

from n2n_cli.system.notes import note, noted_to


def test_each_note_goes_once_to_the_innermost_listener() -> None:
    outer, inner = list[str](), list[str]()
    note("lost")
    with noted_to(outer.append):
        note("a")
        with noted_to(inner.append):
            note("a")
            note("b")
        note("a")
        note("c")
    note("lost")
    assert (outer, inner) == (["a", "c"], ["a", "b"])
