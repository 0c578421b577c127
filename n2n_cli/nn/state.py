"""Matching of saved arrays, by name, to those of a network or an optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from n2n_cli.nn.functional import Array

LARGEST_WEIGHT = 1e18
"""Largest useful weight: products of two larger ones overflow float32, and a ReLU may hide that."""


def fit(
    own: Mapping[str, Array], found: Mapping[str, Any], *, largest: float = np.inf
) -> tuple[dict[str, Array], list[str]]:
    """Saved arrays converted to the dtypes of `own`, and a list of problems.

    Parameters
    ----------
    own, found : mappings of names to arrays
        Arrays of the network or optimiser, and the saved ones.
    largest : float
        Largest absolute value to accept.

    Returns
    -------
    dict of arrays, list of str
        Arrays that fit, and one line for each entry that is missing, unexpected, not a numeric array, misshapen, not
        finite or too large.
    """
    fitting: dict[str, Array] = {}
    problems = [f"`{name}` is missing" for name in own if name not in found]
    problems += [f"`{name}` is unexpected" for name in found if name not in own]
    for name, array in own.items():
        if name not in found:
            continue
        values = found[name]
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            problems.append(f"`{name}` is not an array of numbers")
        elif values.shape != array.shape:
            problems.append(f"`{name}` has shape {values.shape}, the network needs {array.shape}")
        else:
            with np.errstate(over="ignore"):  # values too large for the dtype become infinite
                fitting[name] = values.astype(array.dtype)
            if not np.isfinite(fitting[name]).all():
                problems.append(f"`{name}` holds values that are not finite")
            elif fitting[name].size and max(fitting[name].max(), -fitting[name].min()) > largest:
                problems.append(f"`{name}` holds values above {largest:g}, too large to compute with")
    return fitting, problems
