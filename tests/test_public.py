"""The names the package promises, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import scalesearch


def test_exported_members() -> None:
    assert scalesearch.__all__ == [
        "Coefficients",
        "ModelSpec",
        "ModuleSpec",
        "Multipliers",
        "Rounding",
        "Search",
        "__version__",
        "build_model",
        "dump_spec",
        "load_spec",
        "scale_module",
        "scale_spec",
    ]
    assert all(getattr(scalesearch, name) for name in scalesearch.__all__)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, scalesearch; sys.exit(bool({'torch', 'pandas', 'pydantic', 'optuna'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_errors_survive_pickling_between_processes() -> None:
    import pickle

    from scalesearch.errors import SpecError

    error = pickle.loads(pickle.dumps(SpecError("stages[0].kernel", "a positive odd integer", 4)))
    assert str(error) == "stages[0].kernel: expected a positive odd integer, got 4"
