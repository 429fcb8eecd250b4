"""What tests of whole studies share."""

import pytest
from matplotlib.figure import Figure

from cnnperception.studies import Study


@pytest.fixture
def unsaved_figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Collect figures by name in place of writing them, which takes longer than a small study."""
    drawn: dict[str, Figure] = {}

    def keep(self: Study, name: str, figure: Figure, caption: str, *, dpi: int = 0) -> None:
        drawn[name] = figure
        self.figures.append({"file": f"{name}.png", "caption": caption})

    monkeypatch.setattr(Study, "figure", keep)
    return drawn
