"""The gallery of controls: complete, remembered, and with what it says."""

import inspect
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import cnnperception as cp
from analyses import synthesis_gallery as gallery
from cnnperception.synthesis import Level
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.presets import PUBLISHED, TASKS

# What goes in, or is said of how a synthesis is run, is no control.
NO_CONTROLS = {"exemplar", "content", "style", "image", "running"}
Asked = list[tuple[str, dict[str, Any]]]


def _blank(task: str, given: tuple[Any, ...], options: dict[str, Any]) -> cp.SynthesisResult:
    """Return grey images of the size that was asked for, as many as asked for."""
    first = given[0][0] if isinstance(given[0], list) else given[0]
    size = options.get("size", gallery.SIDE if task != "style" else max(first.shape[-2:]))
    height, width = (size, size) if isinstance(size, int) else size
    seeds = options["seed"]
    count = len(seeds) if isinstance(seeds, list) else len(first) if first.ndim == 4 else 1
    count = 6 if task == "course" else count
    images = torch.full((count, 3, height, width), 0.5)
    return cp.SynthesisResult(images, pd.DataFrame(), {"task": task})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Note what pictures are asked for, in place of making them."""
    notes: Asked = []

    def noting(task: str):
        def make(*given: Any, **options: Any) -> cp.SynthesisResult:
            notes.append((task, options))
            return _blank(task, given, options)

        return make

    # Drawing takes longer than all the rest.
    for draw in ("contact_sheet", "panel"):
        monkeypatch.setattr(gallery, draw, lambda *_: Figure(figsize=(1, 1)))
    tasks = {task: (noting(task), usual) for task, (_, usual) in gallery.TASKS.items()}
    monkeypatch.setattr(gallery, "TASKS", tasks)
    return notes


def _run(output: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> str:
    argv = ["script", "--output", str(output), "--device", "cpu", *more]
    monkeypatch.setattr(sys, "argv", argv)
    gallery.main()
    return (output / "index.html").read_text(encoding="utf-8")


def test_every_control_has_a_picture_and_none_is_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("coins", "coffee"):
        cp.images.write(folder / f"{name}.png", cp.exemplar(name, size=160)[0])
    output = tmp_path / "synthesis_gallery"
    page = _run(output, monkeypatch, "--pictures", str(folder), "--large", "256")
    used: dict[str, set[str]] = {}
    for task, options in asked:
        used.setdefault(task, set()).update(options)
    for task, function in (
        ("texture", cp.texture),
        ("style", cp.stylize),
        ("metamer", cp.metamer),
        ("foveated", cp.foveated_metamer),
    ):
        controls = set(inspect.signature(function).parameters) - NO_CONTROLS
        shown_elsewhere = {"schedule", "layers"} if task != "texture" else set()
        assert not controls - used[task] - shown_elsewhere, task
    statistics = {options.get("statistic") for task, options in asked if task == "texture"}
    assert statistics >= set(MEASURES)
    presets = {(task, options["preset"]) for task, options in asked if "preset" in options}
    assert presets >= {(p.task, name) for name, p in PUBLISHED.items() if p.task in TASKS}
    figures = sorted(path.stem for path in output.glob("*.jpg"))
    listed = [part for parts in gallery.SECTIONS.values() for part in parts]
    assert set(gallery.controls()) == {part for part in listed if isinstance(part, str)}
    assert len(figures) == len(listed) + 2
    assert page.count("data:image/webp;base64,") == len(figures)
    assert str(tmp_path) not in page
    count = len(asked)
    again = _run(output, monkeypatch, "--pictures", str(folder), "--large", "256")
    assert (len(asked), again) == (count, page)


def test_options_are_told_by_their_values() -> None:
    control = gallery.Control(
        "name",
        "texture",
        [["brick"]],
        "caption",
        option="layers",
        choices=["scale1", ["scale1", "scale2"], 0.5],
        values={"else": {"grey": True}},
        always={"seed": 3},
    )
    assert control.options() == {
        "layers scale1": {"seed": 3, "layers": "scale1"},
        "layers scale1, scale2": {"seed": 3, "layers": ["scale1", "scale2"]},
        "layers 0.5": {"seed": 3, "layers": 0.5},
        "else": {"seed": 3, "grey": True},
    }


def test_what_a_picture_depends_on_is_told_apart() -> None:
    one, other = cp.exemplar("coins", size=32), cp.exemplar("coffee", size=32)
    model = cp.load_model("random-filters", device="cpu")
    told = [
        gallery.described(value)
        for value in (
            one,
            other,
            model,
            cp.load_model("random-filters", seed=1, device="cpu"),
            [one, other],
            Level((1, 2), 3),
            None,
            0.5,
        )
    ]
    assert len({repr(each) for each in told}) == len(told)
    assert gallery.described({"a": (one,)}) == {"a": [told[0]]}


def test_frames_of_a_film_are_the_images_of_a_batch() -> None:
    model = cp.load_model("random-filters", scales=2, channels=6, device="cpu")
    result = gallery.filmed(cp.exemplar("brick", size=64), model=model, evaluations=40)
    assert result.images.shape == (3, 3, gallery.SIDE, gallery.SIDE)


def test_fine_pictures_are_seen_from_nearer() -> None:
    whole = cp.exemplar("gravel")
    quarter = whole[..., 128:-128, 128:-128]
    assert torch.equal(gallery.builtin("gravel", 32), cp.images.resize(quarter, (32, 32)))
    assert torch.equal(
        gallery.builtin("brick", 32), cp.images.resize(cp.exemplar("brick"), (32, 32))
    )


def test_a_sheet_shows_pictures_with_what_was_set() -> None:
    said = ["made of brick", "made of coins"]
    shown = [(gallery.builtin(text.split()[-1], 32), text) for text in said]
    sheet = gallery.sheet("name", shown, 2, "caption").figure
    assert [text.get_text() for text in sheet.axes[0].texts] == said
    row = gallery.to_scale("name", shown, "caption").figure
    assert [ax.get_title() for ax in row.axes] == said
