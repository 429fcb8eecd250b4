"""The documentation's examples run, its pictures exist, and its tables name what there is."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnnperception as cp
from cnnperception.models import hmax, objects_vgg
from cnnperception.models.registry import EMBEDDED

from . import examples

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TABLE = re.compile(r"^### Parameters of `(\w+)`\n\n((?:\|.*\n)+)", re.MULTILINE)


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", [p for p in PAGES if examples.runs(p)], ids=_name)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    needs = "# needs plenoptic" in page.read_text(encoding="utf-8")
    if needs and importlib.util.find_spec("plenoptic") is None:
        pytest.skip("plenoptic is not installed")
    examples.run(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    for folder in re.findall(r"`(reports/[\w/]+)`", text):
        assert (DOCS.parent / folder).exists(), folder


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "models" / "v1.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert "arithmatex" not in page
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    assert "with the texture of an exemplar" in reference


def _documented() -> list[tuple[str, str]]:
    return [found for page in PAGES for found in TABLE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("owner", "table"), _documented(), ids=lambda value: value[:20])
def test_tables_hold_every_parameter_and_its_default(owner: str, table: str) -> None:
    target = next(getattr(at, owner) for at in (cp.models, hmax, objects_vgg) if hasattr(at, owner))
    known = inspect.signature(target).parameters
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:]]
    names = [name.strip("`") for name, _ in rows]
    assert names == list(known)
    for name, default in rows:
        expected = known[name.strip("`")].default
        shown = "" if expected is inspect.Parameter.empty else f"`{expected!r}`"
        assert default == shown.replace("'", '"')


def test_every_model_has_a_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    missing = [name for name in EMBEDDED if f"`{name}`" not in index]
    assert not missing


def test_the_table_of_bands_is_that_of_the_code() -> None:
    variant = hmax.HMAX(prototypes=None).variant
    text = (DOCS / "models" / "hmax.md").read_text(encoding="utf-8")
    for number, (sizes, pool, step) in enumerate(
        zip(variant.bands, variant.pools, variant.steps, strict=True), start=1
    ):
        assert f"| {number} | {sizes[0]}, {sizes[1]} | {pool} | {step} |" in text
