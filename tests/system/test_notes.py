"""Notes from inside the work."""

from __future__ import annotations

from n2n_cli.system.notes import note, noted_to


def test_notes_go_to_the_innermost_listener_each_once() -> None:
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
