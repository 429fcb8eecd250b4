"""Imports go one way: nothing below imports anything above."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cnnperception"
GROUND = {"files", "interrupts", "labels", "runtime"}
# room -> the rooms it may import, beside itself and the ground floor
ALLOWED: dict[str, set[str]] = {
    "files": set(),
    "interrupts": set(),
    "labels": set(),
    "runtime": set(),
    "images": set(),
    "statistics": set(),
    "similarity": set(),
    "rsa": set(),
    "figures": set(),
    "stimuli": {"images"},
    "objects": {"images", "stimuli"},
    "training": {"models", "objects"},
    "ablation": {"models", "objects", "training", "decoding"},
    "models": {"images"},
    "synthesis": {"models", "statistics", "images"},
    "readouts": {"statistics"},
    "stored_activations": set(),
    "activation_store": {"stored_activations"},
    "activations": {
        "models",
        "stimuli",
        "images",
        "readouts",
        "activation_store",
        "stored_activations",
    },
    "decoding": {"models", "stimuli"},
    "report": {"figures", "images"},
    "report_pdf": {"report"},
    "datasets": {"stimuli", "rsa"},
}
TOP = {
    "cli",
    "compared",
    "comparison_report",
    "demo",
    "evaluation",
    "parallel",
    "recipes",
    "stimulus_sets",
    "studio",
    "studies",
}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").removesuffix(".pyi")


def _imported_rooms(path: Path) -> set[str]:
    """Return the rooms a module imports, wherever in the module it does."""
    package = ["cnnperception", *path.relative_to(PACKAGE).parts[:-1]]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [stem] if stem != "cnnperception" else []
            names += [f"{stem}.{alias.name}" for alias in node.names] if not names else []
        rooms |= {name.split(".")[1] for name in names if name.startswith("cnnperception.")}
    return rooms


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    room = _room(path)
    if room in TOP:
        return
    stem = next((known for known in ALLOWED if room == known), None)
    assert stem is not None, f"{room} has no place in the architecture: give it one in this test"
    above = _imported_rooms(path) - {room} - GROUND - ALLOWED[stem]
    assert not above, f"{path.relative_to(PACKAGE)} imports {sorted(above)}, which lie above it"


def test_the_test_sees_imports_that_go_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    module = tmp_path / "models" / "bad.py"
    module.write_text(
        "def f():\n    from ..synthesis.solver import minimise\n    from .. import cli\n"
    )
    assert _imported_rooms(module) == {"synthesis", "cli"}


def test_analyses_use_only_public_names() -> None:
    for script in (PACKAGE.parent / "analyses").glob("*.py"):
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                private = [a.name for a in node.names if a.name.startswith("_")]
                assert not private, f"{script.name} imports {private} from {node.module}"
