"""Order of imports between packages, third-party imports, and lazy loading."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import n2n_cli
from n2n_cli.models.model import Model

PACKAGE = Path(n2n_cli.__file__).parent
ORDER = (  # a module imports from its own row and the rows above
    {"errors", "system"},
    {"nn"},
    {"engine", "images"},
    {"noise"},
    {"values"},
    {"config"},
    {"checkpoints"},
    {"data"},
    {"distributed"},
    {"models"},
    {"single_image", "evaluation"},
    {"training", "denoising"},
    {"sweeps", "plots", "info"},
    {"cli"},
    {"__main__"},
)
OUTSIDE = {
    "numpy": ("everywhere",),
    "PIL": ("images", "noise", "evaluation"),
    "typer": ("cli",),
    "rich": ("cli",),
    "mpi4py": ("distributed",),
    "matplotlib": ("plots",),
    "astropy": ("images",),
    "mrcfile": ("images",),
    "onnx": ("models",),
}
NOT_IN_NN = {  # files, clock, terminal
    *("io", "os", "pathlib", "shutil", "tempfile", "glob", "fileinput", "mmap", "pickle", "zipfile", "json", "tomllib"),
    *(
        "time",
        "datetime",
        "calendar",
        "logging",
        "warnings",
        "getpass",
        "subprocess",
        "socket",
        "signal",
        "random",
    ),
}


def modules() -> dict[str, Path]:
    """All modules by their dotted names below `n2n_cli`; the package itself is ``."""
    names = {path: path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py")}
    return {".".join(part for part in parts if part != "__init__"): path for path, parts in names.items()}


MODULES = modules()


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if path.stem == "__init__"])
def test_docstring_of_a_package_lists_its_modules(name: str) -> None:
    path = MODULES[name]
    inside = {file.stem for file in path.parent.glob("*.py")} | {
        file.parent.name for file in path.parent.glob("*/*.py")
    }
    lines = [re.fullmatch(r"([a-z_0-9, ]+)  +\S.*", line) for line in (docstring_of(path) or "").splitlines()]
    listed = [word.strip() for line in lines if line for word in line[1].split(",")]
    assert sorted(listed) == sorted(inside - {"__init__", "__main__"})


def docstring_of(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, at any level.

    `from a import b` imports a.b if that is a module of this package, and else a.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("n2n_cli.")
                found.add(f"n2n_cli.{inner}" if node.module.startswith("n2n_cli") and inner in MODULES else node.module)
    return found


def inside(module: str) -> set[str]:
    """Modules of this package that a module imports, except `n2n_cli` itself."""
    names = {name for name in imports(MODULES[module]) if name.partition(".")[0] == "n2n_cli"}
    return {name.removeprefix("n2n_cli").removeprefix(".") for name in names} - {""}


def row(module: str) -> int:
    (found,) = (i for i, packages in enumerate(ORDER) if module.partition(".")[0] in packages)
    return found


LIBRARY = sorted(MODULES.keys() - {""})


def test_every_package_has_its_place_in_the_order() -> None:
    assert {module.partition(".")[0] for module in LIBRARY} == set().union(*ORDER)


@pytest.mark.parametrize("module", LIBRARY)
def test_imports_go_one_way(module: str) -> None:
    against = {name for name in inside(module) if row(name) > row(module)}
    assert not against, f"n2n_cli.{module} imports from a later package"


def test_there_are_no_import_cycles() -> None:
    graph = {module: inside(module) - {module} for module in LIBRARY}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the cycle


@pytest.mark.parametrize("module", LIBRARY)
def test_third_party_packages_are_imported_only_where_allowed(module: str) -> None:
    for name in {name.partition(".")[0] for name in imports(MODULES[module])} - {"n2n_cli"} - sys.stdlib_module_names:
        allowed = OUTSIDE.get(name, ())
        assert "everywhere" in allowed or module.partition(".")[0] in allowed, f"n2n_cli.{module} imports {name}"


@pytest.mark.parametrize("module", [module for module in LIBRARY if module.partition(".")[0] == "nn"])
def test_framework_imports_only_itself_errors_and_numpy(module: str) -> None:
    assert {name.partition(".")[0] for name in inside(module)} <= {"nn", "errors"}
    outside = {name.partition(".")[0] for name in imports(MODULES[module])} - {"n2n_cli"} - sys.stdlib_module_names
    assert outside <= {"numpy"}


@pytest.mark.parametrize("module", [module for module in LIBRARY if module.partition(".")[0] in ("nn", "engine")])
def test_framework_and_engine_files_are_short(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("module", [module for module in LIBRARY if module.partition(".")[0] == "nn"])
def test_framework_uses_no_files_clock_or_terminal(module: str) -> None:
    assert not {name.partition(".")[0] for name in imports(MODULES[module])} & NOT_IN_NN


@pytest.mark.parametrize(
    "module", [module for module in LIBRARY if module.partition(".")[0] not in ("cli", "__main__")]
)
def test_the_library_never_prints(module: str) -> None:
    nodes = list(ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    streams = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"stdin", "stdout", "stderr"}
    # Pipes to another process, and the module that prints in it.
    streams -= {"stdin", "stdout", "stderr"} if module == "system.worker_process" else set()
    assert not (called & {"print", "input", "breakpoint"}) | streams
    assert not module.startswith("nn") or "open" not in called


def test_help_loads_no_heavy_packages() -> None:
    program = """
import sys
from n2n_cli.cli.app import app
commands = ("denoise", "train", "info", "sweep", "plot")
for words in ([], ["--help"], *([command, "--help"] for command in commands), ["--version"]):
    try:
        app(words)
    except SystemExit:
        pass
print(*sys.modules, sep="\\n", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "n2n_cli.cli.train.command" in loaded
    heavy = {"numpy", "PIL", "astropy", "mrcfile", "matplotlib", "multiprocessing", "tomllib", "rich.progress"}
    heavy |= {"n2n_cli.nn", "n2n_cli.config", "n2n_cli.training", "n2n_cli.sweeps"}
    assert not loaded & heavy


def test_loading_a_checkpoint_draws_no_random_weights() -> None:
    program = """
import sys
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
Model.from_checkpoint(choose_model("photo").path)
print("numpy.random" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_public_names_of_the_package() -> None:
    assert n2n_cli.Model is Model
    assert n2n_cli.nn.Conv2d.__module__ == "n2n_cli.nn.conv"
    assert set(n2n_cli.__all__) == {"Model", "denoise", "nn", "__version__"}
    with pytest.raises(AttributeError, match=r"^module 'n2n_cli' has no attribute 'Modle'$"):
        n2n_cli.Modle  # noqa: B018


def test_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").read_bytes() == b""


def test_checking_a_network_allocates_no_weights() -> None:
    program = """
import resource
from n2n_cli.config import Config
from n2n_cli.errors import ConfigError
wide = {"type": "Conv2d", "in_channels": 3, "out_channels": 8_000_000, "kernel_size": 3, "padding": 1}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    Config.from_tables({"network": {"channels": 3, "layers": [wide]}}, "wide")
except ConfigError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000  # kB; the weights alone are 864,000
