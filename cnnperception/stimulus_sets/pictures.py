"""From an item of the grid to a picture in a file, with its row of the table inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import images, runtime
from ..models.interface import VisionModel, fingerprint
from ..synthesis import SynthesisResult, texture, verdict
from ..synthesis.baselines import BASELINES, ROUNDING, beyond, portilla_simoncelli, relit
from .grid import TEXTURE, Item
from .settings import NEEDS_A_PACKAGE, ORIGINAL, Exemplar

# The settings that decide what a picture looks like, beside those of its item.
DECIDING = ("size", "grey", "statistic", "evaluations", "luminance", "contrast")
PIXEL_HASH = "pixels"  # its key in the provenance of a picture


@dataclass(frozen=True)
class Plan:
    """All that a set is made of, and where it goes.

    Attributes
    ----------
    settings : mapping
        As `read_settings` gives them.
    exemplars : mapping of str to Exemplar
    models : mapping of str to VisionModel
    folder : Path
    """

    settings: Mapping[str, Any]
    exemplars: Mapping[str, Exemplar]
    models: Mapping[str, VisionModel]
    folder: Path

    def source(self, item: Item) -> Tensor:
        """The picture that an item is made from, (1, 3, height, width)."""
        return self.exemplars[item.exemplar].image

    def key(self, item: Item) -> str:
        """Return a hash of all that a picture depends on."""
        model = self.models.get(item.model)
        content = {
            "item": asdict(item),
            "settings": {name: self.settings[name] for name in DECIDING},
            "exemplar": hashlib.sha256(self.source(item).numpy().tobytes()).hexdigest(),
            "model": None if model is None else fingerprint(model),
        }
        return digest(content)


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def row_of(path: Path, key: str) -> dict[str, Any] | None:
    """Return the row of a picture that is there, None where there is none.

    Raises
    ------
    ValueError
        When it was made with other settings, is something else, or was changed since.
    """
    if not path.exists():
        return None
    # Not from the JSON beside it, which stays when another picture takes the place.
    provenance = images.embedded_provenance(path)
    if provenance is None or _is_changed(path, provenance):
        raise ValueError(
            f"{path} was changed since it was made, or is something else: move it away, and it is "
            "made anew"
        )
    if provenance.get("key") != key:
        raise ValueError(
            f"{path} is there, and made with other settings: give another folder, or delete it"
        )
    row: dict[str, Any] = provenance["row"]
    return row


def _is_changed(path: Path, provenance: Mapping[str, Any]) -> bool:
    """Return whether a picture has other pixels than it was written with, where that is stored."""
    pixels = provenance.get(PIXEL_HASH)  # older sets have none
    return pixels is not None and images.pixel_hash(images.read(path)) != pixels


def write_picture(path: Path, picture: Tensor, provenance: Mapping[str, Any]) -> None:
    """Write a picture with its provenance, and a hash by which `row_of` knows its pixels again."""
    images.write(path, picture, {**provenance, PIXEL_HASH: images.pixel_hash(picture)})


def checkpoint_of(plan: Plan, batch: Sequence[Item]) -> Path:
    """Return where an unfinished batch is kept; its length tells batches of two sizes apart."""
    return plan.folder / f"{batch[0].file}.{len(batch)}.checkpoint"


def make(plan: Plan, batch: Sequence[Item], wanted: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """Make the pictures of a batch, write those that are wanted, and return their rows by file.

    Raises
    ------
    KeyboardInterrupt
        When interrupted; a checkpoint keeps what was reached.
    """
    rows = {}
    for item, (picture, details, synthesis) in zip(batch, _made(plan, batch), strict=True):
        if item in wanted:
            rows[item.file] = _write(plan, item, picture, details, synthesis)
    return rows


Made = tuple[Tensor, dict[str, Any], dict[str, Any]]  # picture, details for the row, provenance


def _made(plan: Plan, batch: Sequence[Item]) -> Iterator[Made]:
    first, kind = batch[0], batch[0].kind
    if kind == ORIGINAL:
        yield plan.source(first), {}, {}
    elif kind not in (TEXTURE, NEEDS_A_PACKAGE):
        yield BASELINES[kind](plan.source(first), first.seed), {}, {}
    else:
        result = _synthesised(plan, batch)
        if not result.finished:
            raise KeyboardInterrupt
        for item, one in zip(batch, result.each(), strict=True):
            details, synthesis = _details(one, len(batch)), one.provenance
            if kind == TEXTURE:
                model = plan.models[item.model]
                judged = verdict(one.image, plan.source(item), model, layers=item.layers)
                details["converged"] = bool(judged["converged"].all())
                synthesis = {**synthesis, "verdict": judged.to_dict(orient="records")}
            yield one.images, details, synthesis


def _synthesised(plan: Plan, batch: Sequence[Item]) -> SynthesisResult:
    first, settings = batch[0], plan.settings
    checkpoint = checkpoint_of(plan, batch)
    if first.kind == NEEDS_A_PACKAGE:
        return portilla_simoncelli(
            plan.source(first),
            first.seed,
            evaluations=settings["evaluations"],
            checkpoint=checkpoint,
        )
    return texture(
        torch.cat([plan.source(item) for item in batch]),
        model=plan.models[first.model],
        layers=first.layers,
        statistic=settings["statistic"],
        grey=settings["grey"],
        seed=[item.seed for item in batch],
        evaluations=settings["evaluations"],
        checkpoint=checkpoint,
    )


def _details(result: SynthesisResult, batch: int) -> dict[str, Any]:
    """Return what the table says of how a picture was synthesised."""
    by_layer = {
        str(name).removeprefix("texture/"): float(value)
        for name, value in result.final_losses().items()
        if str(name).startswith("texture/")
    }
    record = result.provenance
    return {
        "model_sha256": record["model"]["sha256"],
        "statistic": record["statistic"],
        "evaluations": record["evaluations"],
        "batch": batch,
        "precision": record["precision"],
        "loss": sum(by_layer.values()) / len(by_layer),
        **{f"loss_{layer}": value for layer, value in by_layer.items()},
    }


def _write(
    plan: Plan,
    item: Item,
    picture: Tensor,
    details: Mapping[str, Any],
    synthesis: Mapping[str, Any],
) -> dict[str, Any]:
    """Write one picture; return its row but for the hash."""
    settings, exemplar = plan.settings, plan.exemplars[item.exemplar]
    targets = [target(settings[name], name, exemplar.image) for name in ("luminance", "contrast")]
    shown, measures = adjusted(picture.cpu(), *targets)
    versions = runtime.versions()
    options = next((m.get("options") for m in settings["models"] if m["name"] == item.model), None)
    row = {
        **asdict(item),
        "layers": " ".join(item.layers),
        "exemplar_sha256": exemplar.sha256,
        "model_options": json.dumps(options or {}) if item.model else "",
        "height": shown.shape[-2],
        "width": shown.shape[-1],
        "grey": settings["grey"],
        **measures,
        **details,
        "version": versions["cnnperception"],
    }
    provenance = {
        "key": plan.key(item),
        "row": row,
        "settings": dict(settings),
        "versions": versions,
        **({"synthesis": synthesis} if synthesis else {}),
    }
    write_picture(plan.folder / item.file, shown, provenance)
    return row


def target(value: float | str | None, name: str, exemplar: Tensor) -> float | None:
    """Return the luminance or contrast asked for: a number, that of the exemplar, or None."""
    if value != ORIGINAL:
        return None if value is None else float(value)
    own = images.luminance(exemplar)
    return float(own.mean() if name == "luminance" else own.std(correction=0))


def adjusted(
    picture: Tensor, luminance: float | None, contrast: float | None
) -> tuple[Tensor, dict[str, float | None]]:
    """Return a picture with a luminance and contrast, in [0, 1], and what the table says of it.

    Luminance and contrast are measured on the picture as written, with 8 bits; `clipped` is the
    share of values that were outside [0, 1] and `largest_clip` how far the farthest was.
    """
    changed = relit(picture, luminance, contrast)
    outside, shown = beyond(changed), changed.clamp(0, 1)
    written = images.luminance((shown * 255).round() / 255)
    return shown, {
        "target_luminance": luminance,
        "target_contrast": contrast,
        "mean_luminance": round(float(written.mean()), 6),
        "rms_contrast": round(float(written.std(correction=0)), 6),
        "clipped": round(float((outside > ROUNDING).float().mean()), 6),
        "largest_clip": round(float(outside.max()), 6),
    }
