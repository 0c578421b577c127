"""Parsers of the options of `n2n denoise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from n2n_cli.errors import UsageError

if TYPE_CHECKING:
    from n2n_cli.single_image.denoiser import Method


class DenoiseCommand(TyperCommand):
    """A command in which `--self` alone is `--self=zs-n2n`; a picture may follow it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the method to `--self`, before `--`, and parse."""
        options = args.index("--") if "--" in args else len(args)
        return super().parse_args(
            ctx, ["--self=zs-n2n" if word == "--self" else word for word in args[:options]] + args[options:]
        )


def learning_method(text: str) -> Method:
    """Parse the method of `--self`."""
    from n2n_cli.single_image.denoiser import METHODS

    for method in METHODS:
        if text == method:
            return method
    raise UsageError(f"`--self` is {text!r}, it must be one of {', '.join(METHODS)}", hint="for example `--self=adapt`")


def name_part(text: str) -> str:
    """Parse a part of a file's name."""
    if "/" in text or "\0" in text:
        raise ValueError("a part of a file's name", "_denoised")
    return text


def picture_format(text: str) -> str:
    """Parse the name of an image format, as png or jpg."""
    from n2n_cli.images import format_named

    return format_named(text)
