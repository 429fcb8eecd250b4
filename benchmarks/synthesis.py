"""How fast synthesis is: `python -m benchmarks.synthesis [rate|texture|style|statistics]`.

The published procedure (see `published.py`) begins with white noise or the photograph at full
size, and takes 500 evaluations of its loss in float32. Ours goes from coarse to fine, in bfloat16
where the processor has it, until the same loss is, in float32, as low as what the published
procedure has reached. What it minimises is, for textures, the loss of balanced Gram matrices and,
for style transfers, that of `cnnperception.synthesis.approach`, which is the published one at the
last level. Both have one VGG-19 with average pooling, of random or given weights (--weights FILE),
and the same exemplars.

For each exemplar the two run one after the other, on the same threads. `rate` relates the
arithmetic of one evaluation, forward and backward, to the rate of a large matrix product, and to
the time of one of the published procedure. `statistics` relates plenoptic's Metamer of its
Portilla-Simoncelli model, by its defaults, to ours of the same model and loss.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

import cnnperception as cp
from cnnperception import images as image_files
from cnnperception import runtime
from cnnperception.models.network import Network
from cnnperception.synthesis import Level, noise_like, synthesize
from cnnperception.synthesis.anchored import Anchored
from cnnperception.synthesis.approach import approaching, held, is_on_the_way
from cnnperception.synthesis.objective import (
    Objective,
    PixelTerm,
    Term,
    balanced_gram,
    match,
    unchanged,
)
from cnnperception.synthesis.pyramid import coarse_to_fine
from cnnperception.synthesis.result import Moment
from cnnperception.synthesis.setup import layers_that_fit, scaled

from .published import (
    FLAT,
    STYLE_LAYERS,
    TEXTURE_LAYERS,
    Curve,
    network,
    published,
    texture_terms,
    total,
)

CONTENT_LAYER = "conv4_2"
CONTENT_SHARE = 1e-3  # of the style's weight: the paper's ratio of content to style
EXEMPLARS = ("brick", "gravel", "grass", "coins", "coffee")
STYLES = (("chelsea", "retina"), ("astronaut", "coffee"), ("china", "flower"))

MATRIX = 4096  # side of the matrices whose product tells the machine's rate


def balanced(model: Network, exemplar: Tensor, terms: list[Term]) -> list[Term]:
    """Return terms of balanced Gram matrices, in which strong directions weigh as in the others."""
    layers = [term.layer for term in terms]
    found = match("balanced", model, layers, balanced_gram, exemplar)
    return [
        dataclasses.replace(term, weight=plain.weight * float(term.size() / plain.size()))
        for term, plain in zip(found, terms, strict=True)
    ]


class _Reached(Exception):
    pass


def ours(
    objective_at: Callable[[int], Objective],
    levels: Sequence[Level],
    start: Tensor,
    weights_at: Callable[[int], Sequence[float]],
    target: float,
    precision: str = "auto",
) -> Curve:
    """Return the curve of ours, until the target is reached in float32.

    `weights_at` says, for a level, what each term weighs in the loss that is compared.
    """
    curve: Curve = []
    began = time.perf_counter()

    def loss(level: int, terms: Tensor) -> float:
        return float(terms[0].double().cpu() @ torch.tensor(weights_at(level)).double())

    def watch(moment: Moment) -> None:
        reached = loss(moment.level, moment.terms)
        last = moment.level == len(levels) - 1
        if last and reached <= target:
            with torch.no_grad():
                reached = loss(moment.level, objective_at(moment.level).losses(moment.images))
        curve.append((time.perf_counter() - began, reached))
        if last and reached <= target:
            raise _Reached

    with contextlib.suppress(_Reached):
        synthesize(objective_at, levels, start, {}, precision=precision, watch=watch)
    return curve


def compare_texture(model: Network, exemplar: Tensor, evaluations: int) -> dict[str, float]:
    """Return a row of textures: the published procedure against ours."""
    size = (int(exemplar.shape[-2]), int(exemplar.shape[-1]))
    terms = texture_terms(model, exemplar, TEXTURE_LAYERS)
    white = torch.randn(exemplar.shape, generator=runtime.generator(0)) / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    theirs = published(total(model, terms), [white + mean, noise_like(exemplar, size, 0)])

    began = time.perf_counter()
    levels = _levels(size, evaluations)
    objectives, weights = [], []
    for level in levels:
        small = _at(exemplar, level.size)
        layers = layers_that_fit(model, TEXTURE_LAYERS, small)
        plain = texture_terms(model, small, list(layers))
        matched = balanced(model, small, plain)
        objective, compared = _beside(matched, plain, model)
        objectives.append(objective)
        weights.append(compared)
    start = noise_like(_at(exemplar, levels[0].size), levels[0].size, 0)
    prepared = time.perf_counter() - began
    mine = ours(objectives.__getitem__, levels, start, weights.__getitem__, theirs[-1][1])
    return _row(theirs, mine, prepared, terms)


def compare_style(
    model: Network, content: Tensor, painting: Tensor, evaluations: int
) -> dict[str, float]:
    """Return a row of style transfers: the published procedure against ours."""
    size = (int(content.shape[-2]), int(content.shape[-1]))

    def paint_at(level: tuple[int, int]) -> Tensor:
        return _at(painting, scaled(painting, level[0] / size[0]))

    def terms_at(level: tuple[int, int]) -> list[Term]:
        style = texture_terms(model, paint_at(level), STYLE_LAYERS)
        (kept,) = match("content", model, [CONTENT_LAYER], unchanged, _at(content, level))
        weight = CONTENT_SHARE * sum(term.weight for term in style)
        return [*style, dataclasses.replace(kept, weight=weight)]

    terms = terms_at(size)
    theirs = published(total(model, terms), [content])
    began = time.perf_counter()
    *way, _ = approaching(size, evaluations, smallest=min(size) // 8)
    levels = [*way, Level(size, evaluations)]  # at the last, as long as it needs
    objectives, weights = [], []
    for index, level in enumerate(levels):
        plain = terms_at(level.size)
        *style, kept = plain
        if is_on_the_way(levels, index):
            style = balanced(model, paint_at(level.size), style)
        keeping = held([kept], style, levels, index)
        objective, compared = _beside([*style, *keeping], plain, model)
        objectives.append(objective)
        weights.append(compared)
    prepared = time.perf_counter() - began
    begin = _at(content, levels[0].size)
    mine = ours(objectives.__getitem__, levels, begin, weights.__getitem__, theirs[-1][1])
    return _row(theirs, mine, prepared, terms)


def _beside(
    minimised: list[Term], compared: list[Term], model: Network
) -> tuple[Objective, list[float]]:
    """Return an objective that watches other terms, and the weights of all in their loss."""
    watched = [dataclasses.replace(term, weight=0.0) for term in compared]
    weights = [0.0] * len(minimised) + [term.weight for term in compared]
    return Objective(model, [*minimised, *watched]), weights


def _levels(size: tuple[int, int], evaluations: int) -> list[Level]:
    """Return the sizes of ours, at the last of which it may take as long as it needs."""
    coarse = coarse_to_fine(size, evaluations, smallest=min(size) // 8)[:-1]
    return [*coarse, Level(size, evaluations)]


def _at(image: Tensor, size: tuple[int, int]) -> Tensor:
    return image if image.shape[-2:] == size else image_files.resize(image, size)


def compare_statistics(exemplar: Tensor, iterations: int, evaluations: int) -> dict[str, float]:
    """Return a row of Portilla-Simoncelli textures: plenoptic's Metamer against ours."""
    import plenoptic

    grey = image_files.luminance(exemplar)
    model = plenoptic.models.PortillaSimoncelli(tuple(grey.shape[-2:])).eval()
    plenoptic.remove_grad(model)
    metamer = plenoptic.Metamer(grey, model)
    start = torch.rand(grey.shape, generator=runtime.generator(0))
    metamer.setup(start)
    began = time.perf_counter()
    metamer.synthesize(max_iter=iterations, stop_criterion=0)
    seconds = time.perf_counter() - began
    target = model(grey)

    def loss(images: Tensor) -> Tensor:
        shown = image_files.luminance(images)
        far = (model(shown) - target).square().flatten(1).mean(dim=1)
        outside = plenoptic.regularize.penalize_range(shown)
        return far + metamer.penalty_lambda * outside

    reached = float(loss(metamer.metamer.detach().expand(-1, 3, -1, -1)))
    blank = cp.load_model("pixels")
    objective = Objective(blank, [], [PixelTerm("statistics", loss, 1.0)])
    begin = start.expand(-1, 3, -1, -1).clone()
    levels = [Level((int(grey.shape[-2]), int(grey.shape[-1])), evaluations)]
    mine = ours(
        lambda index: objective, levels, begin, lambda index: [1.0], reached, precision="float32"
    )
    row = {"loss": reached, "at the start": float(loss(start.expand(-1, 3, -1, -1)))}
    row |= {"seconds": seconds, "ours": mine[-1][0], "evaluations": len(mine)}
    return {**row, "ratio": seconds / mine[-1][0] if mine[-1][1] <= reached else math.nan}


def _row(theirs: Curve, mine: Curve, prepared: float, terms: list[Term]) -> dict[str, float]:
    """Return a row; what ours took to measure the sources at every size is in its seconds."""
    scale = sum(term.weight for term in terms)
    (seconds, target), (spent, reached) = theirs[-1], mine[-1]
    spent += prepared
    row = {"loss": target / scale, "at the start": theirs[0][1] / scale, "theirs": seconds}
    row |= {"evaluations of theirs": len(theirs), "ours": spent, "of ours": len(mine)}
    flat = target > FLAT * theirs[0][1]  # nothing to be compared with
    return {**row, "ratio": seconds / spent if reached <= target and not flat else math.nan}


def share_of_rate(model: Network, side: int) -> None:
    """Print the rate of one evaluation relative to that of a large matrix product."""
    exemplar = image_files.resize(cp.exemplar("brick"), (side, side)).to(model.mean.device)
    terms = texture_terms(model, exemplar, TEXTURE_LAYERS)
    operations = 0.0
    height, channels = side, 3
    for layer, module in _convolutions(model):
        height = int(model.features(exemplar, [layer])[layer].shape[-1])
        channels = module.out_channels
        operations += 2 * 9 * module.in_channels * channels * height**2
        if layer == "conv4_4":
            break
    # Backward to the pixels alone: each convolution once more.
    operations *= 2
    theirs = _published_evaluation(model, terms, exemplar)
    print(f"an evaluation of the published procedure at {side} in {theirs:.3f} s")
    rough = Objective(model, terms, precision=torch.bfloat16)
    near = Anchored(rough)
    near(exemplar)
    for what, precision, evaluate in (
        ("float32", torch.float32, Objective(model, terms)),
        ("bfloat16", torch.bfloat16, rough),
        ("bfloat16 of differences", torch.bfloat16, near),
    ):
        matrix = torch.rand(MATRIX, MATRIX).to(exemplar.device, precision)
        with runtime.kept_memory():
            products, evaluations = in_turns(
                partial(torch.matmul, matrix, matrix), partial(evaluate, exemplar)
            )
        rate = 2 * MATRIX**3 / statistics.median(products)
        reached = operations / statistics.median(evaluations)
        shares = [
            operations / spent / (2 * MATRIX**3 / product)
            for product, spent in zip(products, evaluations, strict=True)
        ]
        print(
            f"{what}: matrix product {rate / 1e9:.0f} GFLOP/s; an evaluation at {side} in "
            f"{statistics.median(evaluations):.3f} s, {reached / 1e9:.0f} GFLOP/s; share turn by "
            f"turn {statistics.median(shares):.0%}"
        )


def _published_evaluation(model: Network, terms: list[Term], exemplar: Tensor) -> float:
    """Return the seconds of one evaluation as the published code computes it."""
    loss, pixels = total(model, terms), exemplar.clone().requires_grad_()
    (seconds,) = in_turns(lambda: loss(pixels).backward(), turns=5)
    return statistics.median(seconds)


def _convolutions(model: Network) -> list[tuple[str, torch.nn.Conv2d]]:
    modules = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    names = [layer for layer in model.layers if layer.startswith("conv")]
    return list(zip(names, modules, strict=True))


def wait() -> None:
    """Wait until a GPU, where there is one, has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turns(*actions: Callable[[], object], turns: int = 15) -> list[list[float]]:
    """Return the seconds of each action in each turn, the first of which does not count."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(turns + 1):
        for action, spent in zip(actions, seconds, strict=True):
            began = time.perf_counter()
            action()
            wait()
            spent.append(time.perf_counter() - began)
    return [spent[1:] for spent in seconds]


def show(what: str, row: dict[str, float]) -> None:
    print(what, "  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast synthesis is, against the published.")
    parser.add_argument("what", nargs="*", default=["rate", "texture", "style", "statistics"])
    parser.add_argument("--weights", help="a file of VGG-19's weights; random without")
    parser.add_argument("--exemplars", type=int, default=len(EXEMPLARS))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--style-size", type=int, default=512)
    parser.add_argument(
        "--evaluations", type=int, default=400, help="of ours, at smaller sizes and at the last"
    )
    parser.add_argument("--iterations", type=int, default=1000, help="of plenoptic's Metamer")
    chosen = parser.parse_args()
    print(runtime.versions(), f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    model = network(chosen.weights)
    ratios = []
    if "rate" in chosen.what:
        share_of_rate(model, chosen.size)
    if "texture" in chosen.what:
        for name in EXEMPLARS[: chosen.exemplars]:
            exemplar = image_files.resize(cp.exemplar(name), (chosen.size, chosen.size))
            row = compare_texture(model, exemplar, chosen.evaluations)
            ratios.append(row["ratio"])
            show(f"texture {name}:", row)
        compared = [ratio for ratio in ratios if not math.isnan(ratio)]
        print(
            f"ratios from {min(compared, default=math.nan):.2f} on, median "
            f"{statistics.median(compared or [math.nan]):.2f}, of {len(compared)}"
        )
    if "style" in chosen.what:
        for content, painting in STYLES[: chosen.exemplars]:
            scene = image_files.resize(cp.exemplar(content), chosen.style_size)
            style = image_files.resize(cp.exemplar(painting), chosen.style_size)
            show(f"style {content}:", compare_style(model, scene, style, chosen.evaluations))
    if "statistics" in chosen.what:
        for name in EXEMPLARS[: chosen.exemplars]:
            exemplar = image_files.resize(cp.exemplar(name), (chosen.size, chosen.size))
            row = compare_statistics(exemplar, chosen.iterations, chosen.evaluations)
            show(f"statistics {name}:", row)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
