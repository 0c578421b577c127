from __future__ import annotations

import json
import math

from n2n_cli.system.json_lines import json_line


def test_record_is_one_line() -> None:
    record = {"name": "a\nb", "sizes": [1, 2.5], "best": True, "nothing": None}
    assert "\n" not in json_line(record)
    assert json.loads(json_line(record)) == record


def test_infinity_and_nan_become_null_at_any_depth() -> None:
    record = {"a": math.inf, "b": {"c": (1.0, -math.inf)}, "d": [{"e": math.nan}]}
    assert json.loads(json_line(record)) == {"a": None, "b": {"c": [1.0, None]}, "d": [{"e": None}]}
