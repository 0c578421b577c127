"""Line on the denoising of a picture, for formats that keep a history."""

from __future__ import annotations

from n2n_cli import __version__
from n2n_cli.denoising.tasks import DenoiseOptions
from n2n_cli.values.transform import Values


def history(values: Values, options: DenoiseOptions, chosen: str = "") -> str:
    """Version, model, transform of the values, and options.

    Paths and dates are left out, so that the same work has the same text.
    """
    name = chosen or options.model_name
    model = [f"model {name}"] if name and not options.learn else []
    done = [f"n2n {__version__}: denoised", *model]
    done += ["learned from the image alone"] if options.learn else []
    done += [f"values {values.kind}"]
    if values.measured:
        done[-1] += f" {values.low:.6g} to {values.high:.6g}"
    if values.kind == "photons":
        done.append(f"gain {values.gain * (values.high - values.low):.4g}")
    done += [f"strength {options.strength:g}"] if options.strength != 1 else []
    done += [f"pd {options.pd}"] if options.pd > 1 else []
    return ", ".join(done)
