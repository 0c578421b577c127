"""Line on the denoising of a picture, for formats that keep a history."""

from __future__ import annotations

from n2n_cli import __version__
from n2n_cli.denoising.tasks import DenoiseOptions
from n2n_cli.values.transform import Values


def history(values: Values, options: DenoiseOptions, model_name: str) -> str:
    """Version, model, transform of the values, and options.

    Paths and dates are left out, so that the same work has the same text.
    """
    done = [f"n2n {__version__}: denoised"]
    if options.learn:
        done.append("learned from the image alone")
    elif model_name:
        done.append(f"model {model_name}")
    done += [f"values {values.kind}"]
    if values.measured:
        done[-1] += f" {values.low:.6g} to {values.high:.6g}"
    if values.kind == "photons":
        done.append(f"gain {values.gain * (values.high - values.low):.4g}")
    done += [f"strength {options.strength:g}"] if options.strength != 1 else []
    done += [f"pd {options.pd}"] if options.pd > 1 else []
    return ", ".join(done)
