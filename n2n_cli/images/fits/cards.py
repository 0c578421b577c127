"""FITS headers as stored bytes, and their cards.

Values are read by astropy. Cards are copied as bytes, so that damaged or unusual ones stay as they are.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

BLOCK, CARD = 2880, 80
_END = b"END".ljust(CARD)
_MOST_BLOCKS = 5_000
"""Maximum length of a header, in blocks: 14 MB."""
_VALUE = re.compile(rb"(?:'(?:[^']|'')*'|[^/'])*(?=/)")
"""A value with the blanks before its comment; quoted text may contain slashes."""
_STARTS = (b"SIMPLE  =", b"XTENSION=")


def read_header(file: BinaryIO) -> bytes | None:
    """Read the header at the file's position; None if there is none.

    Raises
    ------
    ValueError
        When the header has no end.
    """
    blocks = list[bytes]()
    while len(blocks) < _MOST_BLOCKS:
        block = file.read(BLOCK)
        if not blocks and not block.startswith(_STARTS):
            return None
        if len(block) < BLOCK:
            break
        blocks.append(block)
        if any(block[at : at + CARD] == _END for at in range(0, len(block), CARD)):
            return b"".join(blocks)
    raise ValueError("a header of it has no END")


def cards_of(header: bytes) -> list[bytes]:
    """Split a header into the cards before END; bytes after it are ignored."""
    places = range(0, len(header), CARD)
    return list(itertools.takewhile(lambda card: card != _END, (header[at : at + CARD] for at in places)))


def header_of(cards: Sequence[bytes]) -> bytes:
    """Build a header from cards, padded to whole blocks."""
    header = b"".join(cards) + _END
    return header.ljust(-(-len(header) // BLOCK) * BLOCK)


def key_of(card: bytes) -> str:
    """Keyword of a card."""
    return card[:8].decode("latin-1").rstrip()


def history_cards(text: str) -> list[bytes]:
    """Make HISTORY cards with a text; further lines are indented."""
    lines = textwrap.wrap(text, CARD - 8, subsequent_indent="  ")
    return [f"HISTORY {line}".encode("ascii", "replace").ljust(CARD) for line in lines]


def with_history(cards: list[bytes], text: str) -> list[bytes]:
    """Add HISTORY cards after the last card that is not blank."""
    last = max((place for place, card in enumerate(cards, 1) if card.strip()), default=0)
    return cards[:last] + (history_cards(text) if text else []) + cards[last:]


def with_values(fits: Any, cards: Sequence[bytes], values: Mapping[str, object]) -> list[bytes]:
    """Replace the values of existing cards; no card is added.

    Parameters
    ----------
    fits : module
        ``astropy.io.fits``.
    values : mapping
        New values by keyword; a value may be a pair of value and comment.
    """
    return [card if (key := key_of(card)) not in values else _card(fits, card, key, values[key]) for card in cards]


def _card(fits: Any, card: bytes, key: str, value: object) -> bytes:
    if isinstance(value, tuple):
        return made_card(fits, key, *value)
    return with_comment_of(card, made_card(fits, key, value))


def with_comment_of(old: bytes, card: bytes) -> bytes:
    """Give a card the comment of another, in the same column if there is room."""
    place = _comment_place(old)
    value = card[: _comment_place(card)].rstrip()
    value = value.ljust(place) if len(value) <= place else value + b" "
    return (value + old[place:])[:CARD].ljust(CARD)


def _comment_place(card: bytes) -> int:
    match = _VALUE.match(card, 10)
    return CARD if match is None else match.end()


def made_card(fits: Any, key: str, value: object, comment: str = "") -> bytes:
    """Make a card; a comment that is too long is truncated."""
    image: str = fits.Card(key, value, "").image
    text = image.rstrip().ljust(30)
    return (f"{text} / {comment}" if comment else text).encode("ascii", "replace")[:CARD].ljust(CARD)
