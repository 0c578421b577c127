"""Options of `n2n train` that name the source of its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from n2n_cli.cli.options import exclusive
from n2n_cli.errors import UsageError

if TYPE_CHECKING:
    from n2n_cli.config import DataConfig

_KINDS = {
    "--data": "pictures",
    "--pairs": "pairs",
    "--bursts": "bursts",
    "--single-image": "single",
    "--movie": "movie",
}


class TrainCommand(TyperCommand):
    """Command whose `--pairs` takes two folders or one table."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments after repeating `--pairs` before its second folder."""
        return super().parse_args(ctx, list(spelled_out(args)))


def picture_flags(
    data: str | None, pairs: Sequence[str] | None, bursts: str | None, single_image: str | None, movie: str | None
) -> dict[str, tuple[str, Any]]:
    """Map keys of the configuration to the (option, value) that sets them.

    Raises
    ------
    UsageError
        When more than one source is given, or `--pairs` has neither two folders nor one table.
    """
    single = {"--data": data, "--bursts": bursts, "--single-image": single_image, "--movie": movie}
    given: dict[str, Sequence[str]] = {flag: [value] for flag, value in single.items() if value is not None}
    if pairs:
        given["--pairs"] = pairs
    exclusive(given, why="a training has one source")
    if not given:
        return {}
    ((flag, named),) = given.items()
    if len(named) > 2:
        raise UsageError(
            f"`--pairs` got {len(named)} names, it takes two folders or one table",
            hint="`--pairs A B`, or `--pairs pairs.csv`",
        )
    source, second = (*named, "")[:2]
    return {"data.kind": (flag, _KINDS[flag]), "data.source": (flag, source), "data.second": (flag, second)}


def left_off(sources: dict[str, tuple[str, Any]]) -> dict[str, tuple[str, Any]]:
    """Reset configuration keys that do not apply to the given kind of pictures."""
    if "data.kind" not in sources:
        return {}
    from n2n_cli.config import TrainConfig

    flag, kind = sources["data.kind"]
    of_shots = {} if kind in ("pairs", "bursts") else {"match_exposure": False, "align": False}
    of_movies = {} if kind == "movie" else {"axes": "", "frame_gap": 1}
    keys = {f"data.{key}": value for key, value in {**of_shots, **of_movies}.items()}
    if kind == "single":
        keys["train.loss"] = TrainConfig().loss  # it has a loss of its own
    return {key: (flag, value) for key, value in keys.items()}


def check_same_kind(flags: dict[str, tuple[str, Any]], data: DataConfig) -> None:
    """Refuse another kind of pictures for a resumed run.

    Raises
    ------
    UsageError
        When the run was started with another option.
    """
    flag, kind = flags.get("data.kind", ("", data.kind))
    if kind != data.kind:
        begun = next(option for option, name in _KINDS.items() if name == data.kind)
        raise UsageError(
            f"`{flag}` cannot be used with `--resume`: the run was started with `{begun}`",
            hint=f"if its pictures have moved, name their new place with `{begun}`",
        )


def spelled_out(words: Sequence[str]) -> Iterator[str]:
    """Rewrite `--pairs A B` as `--pairs A --pairs B`."""
    left = iter(words)
    for word in left:
        yield word
        if word == "--":
            yield from left
        elif word == "--pairs":
            first, second = next(left, None), None
            if first is not None:
                yield first
                if not first.lower().endswith(".csv"):
                    second = next(left, None)
            if second is not None:
                if not second.startswith("-"):
                    yield "--pairs"
                yield second
