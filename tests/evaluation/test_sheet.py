"""Contact sheets, compared pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.evaluation.sheet import MAX_SIDE, Panel, Region, draw_sheet, region_side, shown_size
from n2n_cli.nn.functional import Array, Pair
from tests.nn.cases import some_examples


def random_pixels(seed: int, h: int, w: int) -> Array:
    return np.random.default_rng(seed).integers(80, 256, size=(h, w, 3), dtype=np.uint8)


def find(picture: Array, page: Array) -> Pair:
    """Top left pixel (row, column) of an image that occurs once on the page."""
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
def test_side_of_a_region_fits_the_picture(size: Pair, side: int) -> None:
    assert region_side(*size) == side


def test_panels_are_side_by_side_with_regions_below() -> None:
    panels = [Panel(f"{i}", "x", random_pixels(i, 100, 150)) for i in range(3)]
    regions = [Region(20, 30, 50, "a"), Region(149, 99, 1, "b")]
    page = draw_sheet("heading", "facts", panels, regions)
    assert page.dtype == np.uint8
    places = [find(enlarged(panel.pixels, 3), page) for panel in panels[1:]]  # the first has marks drawn on it
    (row, second), (other_row, third) = places
    left, column = 2 * second - third, 3 * 150
    assert row == other_row
    assert page.shape[1] - (third + column) == left > 0  # margins of equal width
    assert second - left > column
    tops = []
    for region, times in zip(regions, (9, 450), strict=True):
        square = slice(region.top, region.top + region.side), slice(region.left, region.left + region.side)
        corners = [find(enlarged(panel.pixels[square], times), page) for panel in panels]
        assert [corner[1] for corner in corners] == [left, second, third]
        assert len({corner[0] for corner in corners}) == 1
        tops.append(corners[0][0])
    assert row + 300 < tops[0]
    assert tops[0] + 450 < tops[1]
    below = page[tops[1] + 450 + 1 :]  # below the border
    assert len(below) == left - 1
    assert (below == page[0, 0]).all()


def extent_of(colour: Array, picture: Array) -> tuple[list[int], list[int]]:
    """First and last (row, column) of a colour."""
    places = np.argwhere((picture == colour).all(axis=2))
    return places.min(axis=0).tolist(), places.max(axis=0).tolist()


def corner_of_flat(page: Array) -> Pair:
    row, column = np.argwhere((page == 120).all(axis=2)).min(axis=0)
    return int(row), int(column)


def test_marks_surround_the_regions_in_the_first_picture_only() -> None:
    flat = np.full((300, 400, 3), 120, np.uint8)
    regions = [Region(100, 50, 60, ""), Region(200, 200, 60, "")]
    page = draw_sheet("", "", [Panel("", "", flat)] * 2, regions)
    row, column = corner_of_flat(page)
    colours = [page[row + region.top, column + region.left] for region in regions]
    assert len({tuple(colour) for colour in [*colours, page[0, 0], page[row, column]]}) == 4
    for region, colour in zip(regions, colours, strict=True):
        first, last = extent_of(colour, page[row : row + 300, column:])
        assert first == [region.top, region.left]
        assert last == [region.top + 59, region.left + 59]
        assert (page[row + 301 :] == colour).all(axis=2).any()  # the colour key beside its label


def test_mark_of_a_tiny_region_is_visible() -> None:
    page = draw_sheet("", "", [Panel("", "", np.full((3000, 4000, 3), 120, np.uint8))], [Region(2000, 1500, 1, "")])
    row, column = corner_of_flat(page)
    picture = page[row : row + 420, column:]
    assert extent_of(picture[210 - 7, 280 - 7], picture) == ([210 - 7, 280 - 7], [210 + 6, 280 + 6])


def test_large_picture_is_reduced_by_averaging() -> None:
    checks = np.indices((1120, 1120)).sum(axis=0)[..., None] % 2 * np.full(3, 200, np.uint8)
    page = draw_sheet("", "", [Panel("", "", checks.astype(np.uint8))], [])
    assert (page == 100).all(axis=2).sum() == MAX_SIDE**2


def test_region_larger_than_the_column_is_reduced() -> None:
    large = Panel("", "", random_pixels(0, 900, 900))
    page, without = (draw_sheet("", "", [large], regions) for regions in ([Region(0, 0, 800, "")], []))
    assert page.shape[1] == without.shape[1]
    assert MAX_SIDE < page.shape[0] - without.shape[0] < MAX_SIDE + 100


def test_text_is_drawn_and_truncated() -> None:
    black = np.zeros((10, 10, 3), np.uint8)

    def page(title: str, caption: str = "", heading: str = "", facts: str = "") -> Array:
        return draw_sheet(heading, facts, [Panel(title, caption, black), Panel("", "", black)], [])

    empty = page("")
    left = np.argwhere((empty == 0).all(axis=2))[:, 1].min()  # first column of the black image
    for words in ({"title": "words"}, {"title": "", "caption": "words"}, {"title": "", "heading": "words"}):
        written = np.argwhere((page(**words) != empty).any(axis=2))
        assert len(written) > 50
        assert written[:, 1].min() >= left
    long = np.argwhere((page("m" * 300) != empty).any(axis=2))
    assert left + 500 < long[:, 1].max() <= left + 560
    assert np.array_equal(page("m" * 300), page("m" * 400))
    assert np.array_equal(page("\u00e9\n"), page("??"))


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 4))
@some_examples
def test_sheet_of_pictures_of_any_size(h: int, w: int, count: int) -> None:
    side = region_side(h, w)
    regions = [Region(w - side, h - side, side, "corner")] * bool(side)
    page = draw_sheet("a", "b", [Panel("c", "d", np.full((h, w, 3), 9, np.uint8))] * count, regions)
    assert 264 < page.shape[1] / count < MAX_SIDE + 100  # captions need 264 pixels
    assert page.shape[0] < (2 if regions else 1) * MAX_SIDE + 260
