"""Commands that make images."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments
from .arguments import (
    Animation,
    Device,
    Layers,
    LossCurve,
    Memory,
    ModelName,
    ModelSeed,
    Output,
    Pooling,
    Precision,
    PresetModel,
    PresetName,
    Preview,
    Quiet,
    Seconds,
    Seed,
    Statistic,
    Weights,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ..models import VisionModel
    from ..synthesis import SynthesisResult

EVALUATIONS_OF_STYLE = 250


def texture(
    exemplar: Annotated[
        list[str], typer.Argument(help="Image file, or a built-in one; several are blended.")
    ],
    output: Output,
    preset: PresetName = "default",
    model: PresetModel = None,
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    layers: Layers = None,
    size: Annotated[str | None, typer.Option(help="Side, or HEIGHTxWIDTH, in pixels.")] = None,
    exemplar_size: Annotated[
        int | None,
        typer.Option(
            help="Longer side of the exemplar; by default that of the preset's pictures, or larger "
            "than 512 is reduced."
        ),
    ] = None,
    statistic: Statistic = None,
    blend: Annotated[
        str | None, typer.Option(help="Weights of several exemplars, like 0.7,0.3.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Image file: what is darker than mid-grey does not count.")
    ] = None,
    pool_grid: Annotated[
        int, typer.Option(help="Windows along each side, 1 to 4, matched one by one (texform).")
    ] = 1,
    spectrum: Annotated[
        float | None, typer.Option(help="Weight of the amplitude spectrum, by default 0.")
    ] = None,
    grey: Annotated[bool | None, typer.Option(help="Luminance alone.")] = None,
    histogram: Annotated[
        bool | None, typer.Option(help="Give the result the exemplar's values in each channel.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Of the model, over all levels; by default 400.")
    ] = None,
    tileable: Annotated[bool, typer.Option(help="Opposite borders join without a seam.")] = False,
    samples: Annotated[
        int, typer.Option(help="Images of this many seeds, from --seed on: NAME-SEED.png each.")
    ] = 1,
    judge: Annotated[
        bool, typer.Option(help="Tell how near it came, and whether it copies the exemplar.")
    ] = True,
    preview: Preview = None,
    animation: Animation = None,
    loss_curve: LossCurve = None,
    precision: Precision = "auto",
    seconds: Seconds = None,
    memory: Memory = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Synthesise a new image with the texture of an exemplar.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception texture brick -o brick.png --size 256
    """
    from ..synthesis import texture as synthesise
    from ..synthesis.colour import grey as in_grey
    from ..synthesis.presets import named

    if samples < 1:
        raise ValueError(f"samples must be 1 or more; got {samples}")
    settings = named(preset, "texture")
    pictures = [arguments.exemplar(name, exemplar_size, settings) for name in exemplar]
    loaded = arguments.load_for(settings, model, weights, pooling, model_seed, device)
    with arguments.running(
        output,
        preview=preview,
        animation=animation,
        loss_curve=loss_curve,
        precision=precision,
        seconds=seconds,
        memory=memory,
        quiet=quiet,
    ) as running:
        result = synthesise(
            [picture[0] for picture in pictures],
            preset=preset,
            model=loaded,
            layers=arguments.split(layers),
            size=arguments.size(size),
            statistic=statistic,
            weights=arguments.numbers(blend),
            mask=arguments.mask(mask, exemplar_size, settings),
            pool_grid=pool_grid,
            spectrum=spectrum,
            grey=grey,
            histogram=histogram,
            evaluations=evaluations,
            tileable=tileable,
            seed=range(seed, seed + samples),
            **running,
        )
        made = result.each()
        arguments.write(made, output)
    arguments.draw_losses(result, loss_curve)
    # Statistics without positions, as those of ps2000, have no floor in parts of an exemplar.
    if result.provenance["statistic"] == "features" and not settings.fitting_layers:
        judge = False
    # What of a part of an exemplar, or of several, would be near enough is not known.
    if judge and len(pictures) == 1 and mask is None and result.finished:
        used = result.provenance["layers"]
        shown = in_grey(pictures[0]) if result.provenance["grey"] else pictures[0]
        made = [_judged(one, shown, loaded, used) for one in made]
        arguments.write(made, output)
    arguments.tell(made, output)


def _judged(
    result: SynthesisResult, exemplar: Tensor, model: VisionModel, layers: list[str] | None
) -> SynthesisResult:
    """Say how near a texture came; return the result with the verdict in its provenance."""
    from ..synthesis.verdict import judgement, large_enough, verbatim_copies, verdict

    table = verdict(result.image, exemplar, model, layers=layers)
    seen = large_enough(result.image, exemplar)
    copies = verbatim_copies(result.image, exemplar) if seen else None
    said = judgement(table, copies)
    typer.echo(said, err=True)
    record: dict[str, Any] = {"said": said, "layers": table.to_dict(orient="records")}
    if copies is not None:
        record["copies"] = dataclasses.asdict(copies)
    return dataclasses.replace(result, provenance={**result.provenance, "verdict": record})


def style(
    content: Annotated[str, typer.Argument(help="Photograph: a file, or a built-in name.")],
    paintings: Annotated[
        list[str], typer.Argument(help="Painting: a file, or a built-in name; or several.")
    ],
    output: Output,
    preset: PresetName = "default",
    model: PresetModel = None,
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    content_layers: Layers = None,
    style_layers: Annotated[
        str | None,
        typer.Option(
            help="Names, groups or patterns, separated by commas; for each of several styles "
            "separated by semicolons: fine layers of one, coarse ones of another."
        ),
    ] = None,
    content_weight: Annotated[
        float | None, typer.Option(help="More keeps more of the scene; by default 0.05.")
    ] = None,
    blend: Annotated[
        str | None, typer.Option(help="Weights of several styles, like 0.7,0.3.")
    ] = None,
    style_scale: Annotated[float, typer.Option(help="Size of the strokes.")] = 1.0,
    size: Annotated[
        int | None,
        typer.Option(help="Longer side of the result; by default 512, or as the preset has it."),
    ] = None,
    composed_at: Annotated[
        int | None,
        typer.Option(
            help="Shorter side of the size whose look larger results have: less is more of a "
            "painting. By default what suits the model."
        ),
    ] = None,
    statistic: Statistic = None,
    colour: Annotated[
        str, typer.Option(help="style; luminance or affine keep the photograph's colours.")
    ] = "style",
    content_mask: Annotated[
        Path | None, typer.Option(help="PNG, a colour for each region of the photograph.")
    ] = None,
    style_mask: Annotated[
        Path | None, typer.Option(help="PNG, the same colours for regions of the painting.")
    ] = None,
    smoothness: Annotated[float, typer.Option(help="Weight of the total variation.")] = 0.0,
    start: Annotated[str, typer.Option(help="content, noise, or an image file.")] = "content",
    evaluations: Annotated[
        int | None, typer.Option(help="Of the model, over all levels; by default 250.")
    ] = None,
    preview: Preview = None,
    animation: Animation = None,
    loss_curve: LossCurve = None,
    precision: Precision = "auto",
    seconds: Seconds = None,
    memory: Memory = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Redraw a photograph in the style of a painting.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception style photo.jpg painting.jpg -o out.png
    """
    from ..synthesis import stylize
    from ..synthesis.presets import named

    settings = named(preset, "style")
    if settings.network is None:
        size = 512 if size is None else size
        evaluations = EVALUATIONS_OF_STYLE if evaluations is None else evaluations
    scene = arguments.exemplar(content, size, settings)
    longest = max(scene.shape[-2:])
    # As large as it can be needed, and a margin.
    at_most = math.ceil(2 * longest * max(1.0, style_scale))
    if (content_mask is None) != (style_mask is None):
        raise ValueError("masks come in pairs: give both --content-mask and --style-mask")
    groups = [arguments.split(part) or [] for part in (style_layers or "").split(";")]
    with arguments.running(
        output,
        preview=preview,
        animation=animation,
        loss_curve=loss_curve,
        precision=precision,
        seconds=seconds,
        memory=memory,
        quiet=quiet,
    ) as running:
        result = stylize(
            scene,
            [arguments.picture(name, None, at_most=at_most)[0] for name in paintings],
            preset=preset,
            model=arguments.load_for(settings, model, weights, pooling, model_seed, device),
            content_layers=arguments.split(content_layers),
            style_layers=groups if len(groups) > 1 else groups[0] or None,
            content_weight=content_weight,
            style_weights=arguments.numbers(blend),
            style_scale=style_scale,
            composed_at=composed_at,
            statistic=statistic,
            colour=colour,
            masks=arguments.masks(content_mask, style_mask),
            smoothness=smoothness,
            start=start if start in ("content", "noise") else arguments.picture(start, longest),
            evaluations=evaluations,
            seed=seed,
            **running,
        )
        arguments.write([result], output)
    arguments.draw_losses(result, loss_curve)
    arguments.tell([result], output)


def metamer(
    image: Annotated[str, typer.Argument(help="Image file, or the name of a built-in one.")],
    output: Output,
    layers: Annotated[str, typer.Option(help="Names, groups or patterns, separated by commas.")],
    model: ModelName = "hmax",
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    size: Annotated[
        int | None, typer.Option(help="Longer side in pixels; above 256 it is reduced by default.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Image to begin with, in place of noise.")
    ] = None,
    evaluations: Annotated[int, typer.Option(help="Of the model, over all levels.")] = 800,
    coarsest: Annotated[
        int, typer.Option(help="Side from which sizes grow; that of the image: no growing.")
    ] = 32,
    preview: Preview = None,
    animation: Animation = None,
    loss_curve: LossCurve = None,
    precision: Precision = "auto",
    seconds: Seconds = None,
    memory: Memory = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Make another image to which layers of a model respond as they do to this one.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception metamer chelsea --model hmax --layers c2 -o out.png
    """
    from ..synthesis import metamer as synthesise

    with arguments.running(
        output,
        preview=preview,
        animation=animation,
        loss_curve=loss_curve,
        precision=precision,
        seconds=seconds,
        memory=memory,
        quiet=quiet,
    ) as running:
        result = synthesise(
            arguments.picture(image, size, at_most=256),
            arguments.load(model, weights, pooling, model_seed, device),
            arguments.split(layers) or [],
            start=None if start is None else arguments.picture(start, size, at_most=256),
            evaluations=evaluations,
            coarsest=coarsest,
            seed=seed,
            **running,
        )
        arguments.write([result], output)
    arguments.draw_losses(result, loss_curve)
    for layer, distance in result.provenance["distances"].items():
        typer.echo(f"{layer}: {distance['to_start']:.2g} of the start's distance", err=True)
    arguments.tell([result], output)


def stimulus_set(
    config: Annotated[Path, typer.Argument(help="TOML file that describes the set.")],
    output: Output = Path("stimuli"),
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Make a whole set of textures and control stimuli, their crops, tables and a contact sheet.

    Interrupt and run again: only what is missing is made.

    Example: cnnperception stimuli experiment.toml -o stimuli/
    """
    from ..stimulus_sets import CROP_TABLE, SHEET, TABLE, TRIAL_TABLE, make_stimulus_set

    table = make_stimulus_set(config, output, device=device, progress=not quiet)
    typer.echo(f"{len(table)} pictures")
    for name in (TABLE, CROP_TABLE, TRIAL_TABLE, f"{SHEET}.png"):
        if (output / name).exists():
            typer.echo(output / name)
