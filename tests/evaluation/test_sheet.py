"""Contact sheets: where everything stands, pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.evaluation import sheet
from n2n_cli.evaluation.sheet import BOX, Panel, Region, draw_sheet, region_side, shown_size
from n2n_cli.nn.functional import Array, Pair
from tests.nn.cases import some_examples


def random_pixels(seed: int, h: int, w: int) -> Array:
    return np.random.default_rng(seed).integers(80, 256, size=(h, w, 3), dtype=np.uint8)


def find(picture: Array, page: Array) -> Pair:
    """Where a picture stands on the page: (row, column) of its top left pixel; there must be one such place."""
    h, w = picture.shape[:2]
    corners = np.argwhere((page == picture[0, 0]).all(axis=2))
    places = [(i, j) for i, j in corners if np.array_equal(page[i : i + h, j : j + w], picture)]
    ((row, column),) = places
    return int(row), int(column)


def enlarged(pixels: Array, times: int) -> Array:
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1, 1), (560, 560)),
        ((32, 40), (448, 560)),
        ((321, 481), (321, 481)),
        ((560, 280), (560, 280)),
        ((561, 280), (560, 280)),
        ((3000, 4000), (420, 560)),
        ((1, 50_000), (1, 560)),
    ],
)  # fmt: skip
def test_size_of_a_picture_on_the_sheet(size: Pair, shown: Pair) -> None:
    assert shown_size(*size) == shown


@pytest.mark.parametrize(
    ("size", "side"),
    [((321, 481), 60), ((481, 321), 40), ((3000, 4000), 70), ((100, 140), 0), ((40, 141), 0), ((1, 900), 0)],
)
def test_side_of_a_region(size: Pair, side: int) -> None:
    assert region_side(*size) == side


def test_panels_stand_side_by_side_in_whole_multiples_and_regions_below_them() -> None:
    panels = [Panel(f"{i}", "x", random_pixels(i, 100, 150)) for i in range(3)]
    regions = [Region(20, 30, 50, "a"), Region(149, 99, 1, "b")]
    page = draw_sheet("heading", "facts", panels, regions)
    assert page.dtype == np.uint8
    column = 450  # three times as large
    places = [find(enlarged(panel.pixels, 3), page) for panel in panels[1:]]  # the first has marks on it
    assert len({row for row, _ in places}) == 1
    assert places[1][1] - places[0][1] == column + sheet._GAP
    assert page.shape[1] == 3 * column + 2 * sheet._GAP + 2 * sheet._MARGIN
    tops = []
    for region, times in zip(regions, (9, 450), strict=True):
        rows = slice(region.top, region.top + region.side), slice(region.left, region.left + region.side)
        cut = [find(enlarged(panel.pixels[rows], times), page) for panel in panels]
        assert [place[1] for place in cut] == [sheet._MARGIN, places[0][1], places[1][1]]
        assert cut[0][0] == cut[1][0] == cut[2][0] > places[0][0] + 300
        tops.append(cut[0][0])
    assert tops[1] - tops[0] == 450 + sheet._GAP + sheet._CAPTION + 12
    assert (page[-sheet._MARGIN + 1 :] == sheet._BACKGROUND).all()  # behind the last hairline


def test_marks_surround_the_regions_in_the_first_picture_alone() -> None:
    flat = np.full((300, 400, 3), 120, np.uint8)
    page = draw_sheet("", "", [Panel("", "", flat)] * 2, [Region(100, 50, 60, ""), Region(200, 200, 60, "")])
    for (left, top), colour in zip(((100, 50), (200, 200)), sheet._MARKS, strict=False):
        found = np.argwhere((page == colour).all(axis=2))
        frame = found[(found[:, 0] < 500) & (found[:, 1] > sheet._MARGIN + 20)]  # not the key at the label
        row, column = frame.min(axis=0)
        assert tuple(frame.max(axis=0) - (row, column)) == (59, 59)
        corner = np.argwhere((page == 120).all(axis=2)).min(axis=0)
        assert (row - corner[0], column - corner[1]) == (top, left)


def test_the_mark_of_a_tiny_region_can_be_seen() -> None:
    flat = np.full((3000, 4000, 3), 120, np.uint8)
    page = draw_sheet("", "", [Panel("", "", flat)], [Region(2000, 1500, 1, "")])
    frame = np.argwhere((page == sheet._MARKS[0]).all(axis=2))
    frame = frame[frame[:, 1] > sheet._MARGIN + 20]
    assert tuple(np.ptp(frame, axis=0)) == (13, 13)


def test_a_large_picture_is_reduced_by_the_mean() -> None:
    checks = np.indices((1120, 1120)).sum(axis=0)[..., None] % 2 * np.full(3, 200, np.uint8)
    page = draw_sheet("", "", [Panel("", "", checks.astype(np.uint8))], [])
    assert (page == 100).all(axis=2).sum() == BOX**2


def test_a_region_larger_than_the_column_is_reduced() -> None:
    page = draw_sheet("", "", [Panel("", "", random_pixels(0, 900, 900))], [Region(0, 0, 800, "")])
    assert page.shape[1] == BOX + 2 * sheet._MARGIN


def test_words_are_written_and_cut_where_there_is_no_room() -> None:
    black = np.zeros((10, 10, 3), np.uint8)

    def page(title: str, caption: str = "", heading: str = "", facts: str = "") -> Array:
        return draw_sheet(heading, facts, [Panel(title, caption, black), Panel("", "", black)], [])

    empty = page("")
    for words in ({"title": "words"}, {"title": "", "caption": "words"}, {"title": "", "heading": "words"}):
        written = np.argwhere((page(**words) != empty).any(axis=2))
        assert len(written) > 50
        assert written[:, 1].min() >= sheet._MARGIN
    long = np.argwhere((page("m" * 300) != empty).any(axis=2))
    assert sheet._MARGIN + 500 < long[:, 1].max() <= sheet._MARGIN + 560
    assert np.array_equal(page("m" * 300), page("m" * 400))
    assert np.array_equal(page("\u00e9\n"), page("??"))


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 4))
@some_examples
def test_pictures_of_any_size_make_a_sheet(h: int, w: int, count: int) -> None:
    side = region_side(h, w)
    regions = [Region(w - side, h - side, side, "corner")] * bool(side)
    page = draw_sheet("a", "b", [Panel("c", "d", np.full((h, w, 3), 9, np.uint8))] * count, regions)
    assert max(page.shape[1] / count, page.shape[0] / 2) < BOX + 100
    assert page.shape[1] >= count * (sheet._NARROWEST + sheet._GAP)
