"""Read an image file and print the outcome, time and peak memory as JSON.

`python -m tests.images.peak FILE`; `-` is stdin.
"""

from __future__ import annotations

import json
import sys
import time

from n2n_cli.errors import ImageError
from n2n_cli.images import read_pages
from tests.torture.reading import peak_memory


def main(path: str) -> None:
    """Read all pages and print one line of JSON for any outcome."""
    before, started = peak_memory(), time.process_time()
    pages, notes, message = 0, set[str](), None
    source = sys.stdin.buffer if path == "-" else path
    try:
        for picture in read_pages(source, name=path):
            pages += 1
            notes |= {*picture.notes}
    except ImageError as error:
        message = error.message
    print(
        json.dumps(
            {
                "pages": pages,
                "notes": sorted(notes),
                "refused": message,
                "memory": peak_memory() - before,
                "seconds": time.process_time() - started,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
