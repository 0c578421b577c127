"""The `n2n` command: options before the command, and how every error ends."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup, TyperOption

from n2n_cli import __version__
from n2n_cli.cli.compare import compare
from n2n_cli.cli.console import InterruptionError, complain, explain, log, result, settings
from n2n_cli.cli.denoise.command import denoise
from n2n_cli.cli.eval import evaluate
from n2n_cli.cli.export import export
from n2n_cli.cli.help import EVERYWHERE, arrange
from n2n_cli.cli.info import info
from n2n_cli.cli.models import models
from n2n_cli.cli.plot import plot
from n2n_cli.cli.ranked import leave_ranks, on_ranks, reports
from n2n_cli.cli.sweep.command import sweep
from n2n_cli.cli.train.command import train
from n2n_cli.cli.train.sources import TrainCommand
from n2n_cli.errors import N2NError
from n2n_cli.system.blas import prepare_blas
from n2n_cli.system.notes import noted_to
from n2n_cli.system.plugins import load_plugin

_ANYWHERE = {  # options accepted before and after the command
    "quiet": (("--quiet", "-q"), "Print only errors, and figures that were asked for."),
    "verbose": (("--verbose", "-v"), "Print a line per picture, and the log of --self."),
    "debug": (("--debug",), "Print the traceback of an error, too."),
}


class Commands(TyperGroup):
    """Command group that reports each error as `error: ...`, a hint and an exit code.

    With `--debug`, the traceback comes first.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.params[:0] = _anywhere()
        for command in self.commands.values():
            arrange(command)
            command.params += _anywhere(EVERYWHERE)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and exit.

        Exit codes: 0 success, 1 failure, 2 wrong usage, 128 + N stopped by signal N.
        """
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name outside the terminal's encoding is no error
        try:
            with noted_to(log):
                code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:
            code = _report(error) if reports(error) else int(getattr(error, "exit_code", 1))
        finally:
            settings.reset()
        code = code if isinstance(code, int) else 0
        leave_ranks(code)
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        settings.command = ctx.command_path
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptionError("interrupted", hint="no file is left half written") from None
        finally:
            if ctx.invoked_subcommand:
                settings.command += f" {ctx.invoked_subcommand}"


def _anywhere(panel: str | None = None) -> list[TyperOption]:
    flags = [
        TyperOption(
            param_decls=[name, *words],
            is_flag=True,
            default=False,
            is_eager=True,  # loading a plugin may already need `--debug`
            expose_value=False,
            callback=_remember,
            help=text,
            rich_help_panel=panel,
        )
        for name, (words, text) in _ANYWHERE.items()
    ]
    plugin = TyperOption(
        param_decls=["plugins", "--plugin"],
        metavar="FILE.py",
        multiple=True,
        is_eager=True,  # values of other options may be names that the plugin registers
        expose_value=False,
        callback=_load,
        help="Python file with layers, losses or noise models; repeatable.",
        rich_help_panel=panel,
    )
    return [*flags, plugin]


def _remember(_: Any, option: Any, given: bool) -> None:
    if given:
        setattr(settings, option.name, True)


def _load(ctx: Any, option: Any, given: Sequence[str]) -> None:
    if not ctx.resilient_parsing:  # resilient parsing: a shell asks for completions
        for path in given or ():
            load_plugin(Path(path))


def _report(error: Exception) -> int:
    if settings.debug:
        error.__suppress_context__ = False  # show the cause, which `raise ... from None` hides
        traceback.print_exception(error)
    usage = f"see `{settings.command} --help`"
    if isinstance(error, N2NError):
        complain(error.message, error.hint or usage)
        return error.exit_code
    if hasattr(error, "format_message"):  # typer's usage errors
        message: str = error.format_message()
        if getattr(error, "option_name", None) == "--version":
            usage = "use `--version` by itself: `n2n --version`"
        complain(message[:1].lower() + message[1:].removesuffix("."), usage)
        return int(getattr(error, "exit_code", 2))
    complain(*explain(error))
    return 1


app = typer.Typer(
    cls=Commands,
    name="n2n",
    help="Denoise pictures with a network that learned from noisy pictures alone (Noise2Noise), on any CPU.",
    epilog="To begin: `n2n denoise in.png out.png`; `n2n train` makes a denoiser for your own pictures.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("denoise")(denoise)
app.command("train", cls=TrainCommand)(on_ranks(train))
app.command("eval")(on_ranks(evaluate))
app.command("compare")(compare)
app.command("info")(info)
app.command("models")(models)
app.command("export")(export)
app.command("sweep")(sweep)
app.command("plot")(plot)


def _version(asked: bool) -> None:
    if asked:
        result(f"n2n {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """The entry point of the `n2n` script."""
    prepare_blas()  # before a command imports NumPy
    app()
