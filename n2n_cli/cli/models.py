"""`n2n models`."""

from __future__ import annotations

from n2n_cli.cli.console import result
from n2n_cli.cli.options import Json
from n2n_cli.errors import printable


def models(
    as_json: Json = False,
) -> None:
    """List the models that come with n2n.

    `n2n denoise --model NAME` uses one of them. Without --model, `n2n denoise` uses the newest run in runs/ that
    denoises, or else the model for the noise of each picture: white or photo.

    Examples:

      n2n models

      n2n denoise --model photo in.png out.png
    """
    from n2n_cli.info.network import describe_source
    from n2n_cli.models.choice import bundled_models
    from n2n_cli.system.json_lines import json_line

    for name, path in bundled_models().items():
        network = describe_source(str(path))
        if as_json:
            facts = {"noise": network.noise, "parameters": network.parameters, "psnr": network.validation_psnr}
            result(json_line({"model": name, "path": str(path), "bytes": path.stat().st_size, **facts}))
        else:
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            result(f"{name}\t{network.noise}\t{network.parameters:,} parameters\t{size}\t{printable(str(path))}")
