"""The documentation's examples run, its pictures exist, and its tables name what there is."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import cnnperception as cp
from cnnperception.models import hmax
from cnnperception.models.registry import EMBEDDED

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TABLE = re.compile(r"^### Parameters of `(\w+)`\n\n((?:\|.*\n)+)", re.MULTILINE)


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS))


def _blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if _blocks(p)], ids=_name)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in _blocks(page):
        if "# needs plenoptic" in block and importlib.util.find_spec("plenoptic") is None:
            pytest.skip("plenoptic is not installed")
        exec(compile(block, _name(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    for folder in re.findall(r"`(reports/[\w/]+)`", text):
        assert (DOCS.parent / folder).exists(), folder


def _documented() -> list[tuple[str, str]]:
    return [found for page in PAGES for found in TABLE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("owner", "table"), _documented(), ids=lambda value: value[:20])
def test_tables_hold_every_parameter_and_its_default(owner: str, table: str) -> None:
    target = getattr(cp.models, owner, None) or getattr(hmax, owner)
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
