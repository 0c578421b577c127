"""Parsers of the options of `n2n denoise`."""

from __future__ import annotations


def name_part(text: str) -> str:
    """Parse a part of a file's name."""
    if "/" in text or "\0" in text:
        raise ValueError("a part of a file's name", "_denoised")
    return text


def picture_format(text: str) -> str:
    """Parse the name of an image format, as png or jpg."""
    from n2n_cli.images import format_named

    return format_named(text)
