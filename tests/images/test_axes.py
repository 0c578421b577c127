"""Axes of pages, from the file's description or from letters."""

from __future__ import annotations

import re

import pytest

from n2n_cli.errors import UsageError
from n2n_cli.images.axes import Axis, page_axes

DESCRIBED = (Axis("T", 4), Axis("Z", 5), Axis("C", 2))


@pytest.mark.parametrize(
    ("count", "described", "text", "found"),
    [
        (1, (), None, ()),
        (7, (), None, (("T", 7),)),
        (40, DESCRIBED, None, DESCRIBED),
        (40, DESCRIBED, "TYX", (("T", 40),)),
        (40, DESCRIBED, "czyx", None),
        (40, DESCRIBED, "CZTYX", (("C", 4), ("Z", 5), ("T", 2))),
        (60, (), "T12Z5YXS", (("T", 12), ("Z", 5))),
        (60, (), "TZ5C3YX", (("T", 4), ("Z", 5), ("C", 3))),
        (1, (), "YX", ()),
        (1, (), "TYX", (("T", 1),)),
    ],
)
def test_axes_come_from_text_or_description_and_must_fit(
    count: int, described: tuple[Axis, ...], text: str | None, found: tuple[tuple[str, int], ...] | None
) -> None:
    if found is None:
        with pytest.raises(UsageError, match="does not fit"):
            page_axes("`a.tif`", count, described, text)
    else:
        assert page_axes("`a.tif`", count, described, text) == found


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("QYX", "names no axes", "comes last"),
        ("TTYX", "names no axes", "comes last"),
        ("T", "names no axes", "comes last"),
        ("XYT", "names no axes", "comes last"),
        ("TZYX", "does not fit `a.tif`, which has 40 pages", "`--axes TNZNYX`"),
        ("T7ZYX", "does not fit", "`n2n info`"),
        ("T0ZYX", "does not fit", "`n2n info`"),
        ("T40Z0YX", "does not fit", "`n2n info`"),
        ("YX", "does not fit", "`n2n info`"),
        (f"T{'9' * 400}Z2YX", "does not fit", "`n2n info`"),
    ],
)
def test_axes_that_do_not_fit_are_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        page_axes("`a.tif`", 40, (), text)
    assert hint in (caught.value.hint or "")
