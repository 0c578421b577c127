"""Speed compared with PyTorch, ONNX Runtime and OpenVINO.

Training and denoising: `python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from n2n_cli.system import blas, cpu


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few rounds only, to test the benchmark itself")
    parser.add_argument("--growth", action="store_true", help="1 to 100 megapixels, batches of 1 to 1000 instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument("--only", metavar="TEXT", help="only the rows whose name contains TEXT")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user has compiled modules, as pip leaves them
    blas.prepare_blas()  # before NumPy is imported, as `n2n` does

    from benchmarks import cases, facts

    effort = cases.SHORT if options.short else cases.LONG
    result: dict[str, Any] = {"machine": _machine(), "rows": [], "facts": []}
    for name, value in result["machine"].items():
        print(f"{name}: {value}")
    print("\n| work | n2n ms | best peer's ms | ratio | at least | aim | spread | apart |\n" + "|---" * 8 + "|")
    rows = cases.growth if options.growth else cases.rows
    for row in rows(effort, only=options.only or ""):
        result["rows"].append(_as_json(row))
        print(_line(row), flush=True)
    if not options.only and not options.growth:
        print()
        for fact in facts.facts(effort):
            result["facts"].append({"what": fact.what, "value": fact.value})
            print(f"- {fact.what}: {fact.value}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def _line(row: Any) -> str:
    ours, best = row.timings["n2n"], row.timings[row.best]
    goal = [f"{goal:g}x" if goal else "" for goal in (row.least, row.aim)]
    return (
        f"| {row.work} | {ours.median * 1e3:.1f} | {best.median * 1e3:.1f} ({row.best}) | {row.ratio:.2f}x "
        f"| {goal[0]} | {goal[1]} | {ours.spread:.0%}, {best.spread:.0%} | {_apart(row)} |"
    )


def _apart(row: Any) -> str:
    """Time of a peer that computes with fewer bits than ours."""
    if row.apart is None:
        return ""
    return f"{row.timings[row.apart].median * 1e3:.1f} ({row.apart}), {row.ratio_to(row.apart):.2f}x"


def _as_json(row: Any) -> dict[str, Any]:
    timings = {name: {"median": t.median, "seconds": t.seconds} for name, t in row.timings.items()}
    return {
        "work": row.work,
        "ratio": row.ratio,
        "best": row.best,
        "apart": row.apart,
        "least": row.least,
        "aim": row.aim,
        "timings": timings,
    }


def _machine() -> dict[str, str]:
    library = blas.open_blas()
    return {
        "processor": cpu.processor(),
        "cores": str(cpu.available_cores()),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "blas": f"{library.version}, kernel {library.kernel}" if library else "not OpenBLAS",
        **{name: _version(name) for name in ("torch", "onnxruntime", "openvino")},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
