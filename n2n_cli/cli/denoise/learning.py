"""The words of `n2n denoise` on learning from the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from n2n_cli.cli.options import positive
from n2n_cli.errors import UsageError

if TYPE_CHECKING:
    from n2n_cli.single_image.denoiser import Method


class DenoiseCommand(TyperCommand):
    """The command's words, with `--self` by itself for `--self=zs-n2n`: the word behind it is a picture."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = args.index("--") if "--" in args else len(args)
        return super().parse_args(
            ctx, ["--self=zs-n2n" if word == "--self" else word for word in args[:options]] + args[options:]
        )


def duration(text: str, option: str) -> float:
    """The seconds that an option was given.

    Raises
    ------
    UsageError
        When they are no number above 0.
    """
    return positive(text, option, "a number of seconds", hint=f"for example `{option} 15`")


def learning_method(text: str) -> Method:
    """The way to learn from a picture that `--self` names.

    Raises
    ------
    UsageError
        When there is none of that name.
    """
    from n2n_cli.single_image.denoiser import METHODS

    for method in METHODS:
        if text == method:
            return method
    raise UsageError(f"`--self` is {text!r}, it must be one of {', '.join(METHODS)}", hint="for example `--self=adapt`")


def check_learning(method: str | None, *, model: str | None, config: str | None, seconds: str | None) -> None:
    """See that the words on learning and on the model fit together.

    Raises
    ------
    UsageError
        When they do not.
    """
    if method is None and seconds is not None:
        raise UsageError("`--seconds` is what `--self` may take", hint="add `--self`, or leave `--seconds` out")
    if method == "zs-n2n" and (model is not None or config is not None):
        name = "--model" if model is not None else "--config"
        raise UsageError(
            f"`--self` begins with nothing: it has no use for `{name}`",
            hint="`--self=adapt` fits a model to each picture",
        )
