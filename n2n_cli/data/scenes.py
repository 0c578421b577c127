"""Scenes in memory: shots of one size and type, aligned and matched in brightness."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from n2n_cli.data.alignment import Exposure, common_area, measure_exposure, measure_shift
from n2n_cli.data.folders import picture_sizes
from n2n_cli.data.picture_memory import MAX_BYTES, cropped_note, middle, share_of_sides
from n2n_cli.data.set_values import seen_pixels
from n2n_cli.data.shots import Scene
from n2n_cli.data.stack_shots import Shot, ShotReader, shot_file
from n2n_cli.errors import DataError, ImageError, listed
from n2n_cli.images import Picture
from n2n_cli.images.pixels import LUMA, to_float
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.values.transform import Values


@dataclass(frozen=True)
class Shots:
    """The shots of a scene, in their original bit depth.

    Attributes
    ----------
    pixels : list of (H, W, C) arrays
        All of one shape and type; C is 1 (gray) or 3 (RGB).
    exposures : list of Exposure
        Correction of the brightness of each shot.
    """

    scene: Scene
    pixels: list[Array]
    exposures: list[Exposure]

    @property
    def size(self) -> Pair:
        """(rows, columns)."""
        h, w = self.pixels[0].shape[:2]
        return h, w

    def crop(self, shot: int, y: int, x: int, side: int, channels: int) -> Array:
        """Cut a (side, side, channels) float32 square, converted to gray or RGB."""
        crop = to_float(self.pixels[shot][y : y + side, x : x + side])
        if crop.shape[2] != channels:
            crop = np.repeat(crop, 3, axis=2) if channels == 3 else crop @ LUMA
        return self.exposures[shot](crop)

    def part(self, rows: slice, columns: slice) -> Shots:
        """Take a region of the scene without copying."""
        return replace(self, pixels=[pixels[rows, columns] for pixels in self.pixels])


@dataclass
class _Differences:
    """Differences between shots and the first shot of their scene."""

    shots: int = 0
    shifts: dict[Shot, Pair] = field(default_factory=dict)
    unknown_shifts: int = 0
    exposures: dict[Shot, Exposure] = field(default_factory=dict)

    def notes(self, *, match_exposure: bool, align: bool) -> Iterable[str]:
        if self.shifts:
            path = max(self.shifts, key=lambda path: math.hypot(*self.shifts[path]))
            rows, columns = self.shifts[path]
            yield (
                f"{len(self.shifts)} of {self.shots} shots are shifted against the first of their scene, most of all "
                f"`{path}`: by {rows} pixels down and {columns} right; "
                + ("only the area that all shots of a scene show is used" if align else "`--align` corrects it")
            )
        if self.unknown_shifts:
            yield (
                f"the shift of {self.unknown_shifts} of {self.shots} shots cannot be measured: they have too little "
                "structure"
            )
        if self.exposures:
            path = max(self.exposures, key=lambda path: self.exposures[path].change)
            most = self.exposures[path]
            yield (
                f"{len(self.exposures)} of {self.shots} shots differ in brightness from the first of their scene, most "
                f"of all `{path}`: first = {most}; "
                + ("all are made as bright as the first" if match_exposure else "`--match-exposure` corrects it")
            )
        if not self.shifts and not self.exposures and self.shots:
            yield "no shift and no difference in brightness was found between the shots of a scene"


def read_scenes(
    scenes: Sequence[Scene],
    *,
    smallest: int,
    match_exposure: bool = False,
    align: bool = False,
    values: Values | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[list[Shots], tuple[str, ...]]:
    """Read the shots of all scenes that are large enough, and make notes for the user.

    Parameters
    ----------
    smallest : int
        Minimum side of a scene, in pixels.
    match_exposure : bool
        Match the brightness of shots to the first of their scene.
    align : bool
        Correct shifts in whole pixels by cropping the shots of a scene to their common area.
    values : Values, optional
        The transform of measured values.
    max_bytes : int
        Maximum size of all shots together; if they are larger, the middle of each is used.

    Raises
    ------
    DataError
        When no scene is large enough, or shots cannot be read, differ from the first of their scene in size, colour or
        depth, or are copies of another shot; the message lists these shots.
    """
    shots = {shot for scene in scenes for shot in scene.shots}
    sizes, problems = picture_sizes(shot_file(shot) for scene in scenes for shot in scene.shots)
    total = sum(math.prod(sizes.get(shot_file(shot), (0, 0))) for shot in shots)
    kept: list[Shots] = []
    found = _Differences()
    small, least = 0, 1.0
    with ShotReader() as reader:
        for scene in scenes:
            pixels, wrong = _read(reader, scene, sizes, total, smallest, values, max_bytes)
            problems += wrong
            if problems:
                continue  # find the other problems, to report all at once
            if min(pixels[0].shape[:2]) < smallest:
                small += 1
                continue
            corrected = _corrected(scene, pixels, found, match_exposure=match_exposure, align=align)
            if min(corrected.size) < smallest:
                small += 1
                continue
            whole = math.prod(sizes[shot_file(scene.shots[0])])
            least = min(least, math.sqrt(math.prod(pixels[0].shape[:2]) / whole))
            kept.append(corrected)
    if problems:
        raise DataError(
            f"{len(problems)} shots cannot be used: {listed(problems)}",
            hint="repair or remove them; the shots of a scene must have one size, colour and depth",
        )
    if not kept:
        raise DataError(
            f"no scene of `{shot_file(scenes[0].shots[0]).parent}` is as large as {smallest}x{smallest} pixels",
            hint="a smaller `data.size`" + (", or no `--align`, which crops scenes" if align else ""),
        )
    notes: tuple[str, ...] = ()
    if small:
        notes += (f"{small} of {len(scenes)} scenes are smaller than {smallest} pixels: left out",)
    if least < 1:
        notes += (cropped_note("shots", least, max_bytes),)
    return kept, notes + tuple(found.notes(match_exposure=match_exposure, align=align))


def _read(
    reader: ShotReader,
    scene: Scene,
    sizes: dict[Path, Pair],
    total: int,
    smallest: int,
    values: Values | None,
    max_bytes: int,
) -> tuple[list[Array], list[str]]:
    """Read the pixels of a scene's shots, cropped to the memory limit; list problems."""
    pixels: list[Array] = []
    problems: list[str] = []
    seen: dict[bytes, Shot] = {}
    first: tuple[Shot, str] | None = None
    for path in scene.shots:
        if shot_file(path) not in sizes:  # reported already
            continue
        try:
            picture = reader.read(path)
        except ImageError as error:
            problems.append(error.message)
            continue
        own, kind = picture.pixels, _kind(picture, sizes[shot_file(path)])
        first = first or (path, kind)
        if kind != first[1]:
            problems.append(f"`{path}` is {kind}, `{first[0]}` is {first[1]}")
            continue
        digest = hashlib.blake2b(np.ascontiguousarray(own).data, digest_size=16).digest()
        if digest in seen:
            problems.append(f"`{path}` is a copy of `{seen[digest]}`, with the same noise")
            continue
        seen[digest] = path
        try:
            own = seen_pixels(f"`{path}`", picture, values)
        except ImageError as error:
            problems.append(error.message)
            continue
        share = share_of_sides(total * own.shape[2] * own.itemsize, max_bytes)
        pixels.append(middle(own, share, smallest))
    return pixels, problems


def _kind(picture: Picture, size: Pair) -> str:
    """Describe size, colour and depth, which all shots of a scene must share."""
    pixels = picture.pixels
    colour = {1: "gray", 3: "RGB"}.get(pixels.shape[2], f"{pixels.shape[2]} channels")
    depth = f"{8 * pixels.itemsize} bits" + (" (floats)" if pixels.dtype.kind == "f" else "")
    return f"{size[1]}x{size[0]}, {colour}, {depth}"


def _corrected(scene: Scene, pixels: list[Array], found: _Differences, *, match_exposure: bool, align: bool) -> Shots:
    """Measure and correct the shots of a scene; add differences to `found`."""
    first = pixels[0]
    shifts: list[Pair] = [(0, 0)]
    exposures = [Exposure()]
    for path, shot in zip(scene.shots[1:], pixels[1:], strict=True):
        found.shots += 1
        shift = measure_shift(first, shot)
        found.unknown_shifts += shift is None
        shifts.append(shift or (0, 0))
        if shift is not None and shift != (0, 0):
            found.shifts[path] = shift
        one, other = common_area([(0, 0), shifts[-1]], *first.shape[:2])
        exposure = measure_exposure(first[one], shot[other])
        if exposure.differs:
            found.exposures[path] = exposure
        exposures.append(exposure if match_exposure and exposure.differs else Exposure())
    if align and any(shift != (0, 0) for shift in shifts):
        areas = common_area(shifts, *first.shape[:2])
        pixels = [shot[area].copy() for shot, area in zip(pixels, areas, strict=True)]
    return Shots(scene, pixels, exposures)
