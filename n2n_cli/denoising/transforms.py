"""The transforms of a file's values, each shared by the pages of a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from n2n_cli.errors import counted, listed
from n2n_cli.images import Picture
from n2n_cli.values.choice import SAMPLED, Mode, choose_values
from n2n_cli.values.prepared import Prepared
from n2n_cli.values.transform import Values


class Group(NamedTuple):
    """Channel, or group of a page's channels, whose values share a transform.

    Attributes
    ----------
    channel : int
        Place along the axis C of the pages.
    part : int
        Number in `Picture.parts`.
    """

    channel: int = 0
    part: int = 0


Chosen: TypeAlias = dict[tuple[str, int, Group], tuple[Values, str]]
"""Transforms and their descriptions, by type and number of channels of the pages, and by group."""
_MOST_TEXTS = 4  # maximum number of texts that a note lists
ALL = Group()
"""The group of a picture without other channels."""


class Transforms:
    """Prepares the pages of one file for a network.

    Each channel of a stack has a transform of its own, since fluorescence channels differ in range and noise, while all
    pages of a channel (time, depth) share one, so that they stay comparable. Pages of another type or number of
    channels than the first, such as a thumbnail, get a transform of their own, too.

    Parameters
    ----------
    sample : function
        Called with a maximum number and the number of a channel; returns other pages of this channel.
    mode : "auto", "display", "linear" or "photons"
    trained : Values, optional
        The transform that the model was trained with; used for measured values unless `mode` names another.
    channels : tuple of str
        Names of the channels, for notes; by default their numbers.
    chosen : dict, optional
        Transforms that were chosen, with their descriptions; shared by files that are frames of one movie.
    """

    def __init__(
        self,
        sample: Callable[[int, int], Iterable[Picture]],
        mode: Mode,
        trained: Values | None = None,
        channels: tuple[str, ...] = (),
        chosen: Chosen | None = None,
    ) -> None:
        self._sample, self._mode, self._trained, self._channels = sample, mode, trained, channels
        self._chosen = {} if chosen is None else chosen
        self._texts: dict[str, dict[Group, None]] = {}  # groups by the text on their values
        self._groups: dict[Group, None] = {}
        self._kept = 0

    def of(self, picture: Picture, group: Group = ALL) -> Values:
        """The transform of a page, or of a part of it."""
        key = picture.pixels.dtype.str, picture.pixels.shape[2], group
        if key not in self._chosen:
            values, text = choose_values(picture, self._others(group), self._mode)
            if self._trained is not None and self._mode == "auto" and not values.reason:
                values, text = self._as_trained(values, text)
            self._chosen[key] = values, text
        values, text = self._chosen[key]
        self._groups[group] = None
        if values.reason:
            self._texts.setdefault(f"{text}; {values.reason}: it stays as it is", {})[group] = None
        elif values.measured or self._mode != "auto":
            self._texts.setdefault(text, {})[group] = None
        return values

    def _others(self, group: Group) -> Iterator[Picture]:
        for page in self._sample(SAMPLED, group.channel):
            yield from page.parts()[group.part : group.part + 1]

    def _as_trained(self, values: Values, text: str) -> tuple[Values, str]:
        assert self._trained is not None
        trained = self._trained.fitting(values)
        if trained is None:
            return values, f"{text}; far from the {self._trained.low:.4g} to {self._trained.high:.4g} of the training"
        return trained, f"{text}; scaled as in training, {trained.low:.4g} to {trained.high:.4g}"

    def prepared(self, picture: Picture, group: Group = ALL) -> Prepared | None:
        """Prepare a page, or a part of it, for a network.

        None when its values need no preparation.
        """
        values = self.of(picture, group)
        if not values.measured and not (
            (values.empty or picture.pixels.dtype.kind == "f") and _misses(values, picture)
        ):
            return None
        prepared = Prepared(picture, values)
        self._kept += prepared.kept
        return prepared

    def notes(self) -> list[str]:
        """Notes for the user, on the pages so far."""
        notes = list(self._texts)
        if len(self._groups) > 1 and self._texts:
            told = [f"{self._names(groups)}: {text}" for text, groups in self._texts.items()]
            others = [f"{len(told) - _MOST_TEXTS} more likewise"] if len(told) > _MOST_TEXTS else []
            notes = [listed([*told[:_MOST_TEXTS], *others])]
        kept = f"{counted(self._kept, 'value')} not finite, without data or far outside the rest stayed as they were"
        return [*(f"values: {note}" for note in notes), *([kept] if self._kept else [])]

    def _names(self, groups: Iterable[Group]) -> str:
        numbers = [max(group) for group in groups]
        names = [self._channels[n] if n < len(self._channels) else str(n + 1) for n in numbers]
        return f"channel{'s' * (len(names) > 1)} {', '.join(names)}"


def _misses(values: Values, picture: Picture) -> bool:
    return bool(values.missing(picture.pixels).any())
