"""The transform of a file's values, shared by all of its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from n2n_cli.errors import counted
from n2n_cli.images import Picture
from n2n_cli.values.choice import SAMPLED, Mode, choose_values
from n2n_cli.values.prepared import Prepared
from n2n_cli.values.transform import Values


class Transforms:
    """Prepares the pages of one file for a network.

    Pages of another type or number of channels than the first, such as a thumbnail, get a transform of their own.

    Parameters
    ----------
    sample : function
        Called with a maximum number; returns other pages of the file.
    mode : "auto", "display", "linear" or "photons"
    trained : Values, optional
        The transform that the model was trained with; used for measured values unless `mode` names another.
    """

    def __init__(self, sample: Callable[[int], Iterable[Picture]], mode: Mode, trained: Values | None = None) -> None:
        self._sample, self._mode, self._trained = sample, mode, trained
        self._chosen: dict[tuple[str, int], Values] = {}
        self._notes: dict[str, None] = {}
        self._kept = 0

    def of(self, picture: Picture) -> Values:
        """The transform of a page."""
        key = picture.pixels.dtype.str, picture.pixels.shape[2]
        if key not in self._chosen:
            values, text = choose_values(picture, self._sample(SAMPLED), self._mode)
            if self._trained is not None and self._mode == "auto" and not values.reason:
                values, text = self._as_trained(values, text)
            self._chosen[key] = values
            if values.reason:
                self._notes[f"values: {text}; {values.reason}: it stays as it is"] = None
            elif values.measured or self._mode != "auto":
                self._notes[f"values: {text}"] = None
        return self._chosen[key]

    def _as_trained(self, values: Values, text: str) -> tuple[Values, str]:
        assert self._trained is not None
        trained = self._trained.fitting(values)
        if trained is None:
            return values, f"{text}; far from the {self._trained.low:.4g} to {self._trained.high:.4g} of the training"
        return trained, f"{text}; scaled as in training, {trained.low:.4g} to {trained.high:.4g}"

    def prepared(self, picture: Picture) -> Prepared | None:
        """A page as a network sees it; None when its values need no preparation."""
        values = self.of(picture)
        if not values.measured and not (
            (values.empty or picture.pixels.dtype.kind == "f") and _misses(values, picture)
        ):
            return None
        prepared = Prepared(picture, values)
        self._kept += prepared.kept
        return prepared

    def notes(self) -> list[str]:
        """Notes for the user, on the pages so far."""
        kept = f"{counted(self._kept, 'value')} not finite, without data or far outside the rest stayed as they were"
        return [*self._notes, *([kept] if self._kept else [])]


def _misses(values: Values, picture: Picture) -> bool:
    return bool(values.missing(picture.pixels).any())
