"""What a GPU brings: `python -m benchmarks.gpu [style|batch|rate|inference]`.

`style`: a style transfer with VGG-19, loaded from a file, to the loss that the published procedure
has after its evaluations on the same GPU; see `benchmarks.synthesis`. `batch`: textures made
together, against one after the other. `rate`: the arithmetic of one evaluation, relative to that of
a large matrix product. `inference`: bootstraps of RSA, against ours on the processor.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

import cnnperception as cp
from cnnperception import images as image_files
from cnnperception import rsa, runtime
from cnnperception.models.network import Network

from .published import TEXTURE_LAYERS, network
from .rsa import METHODS, labelled, made_up_rdms
from .synthesis import STYLES, compare_style, in_turns, share_of_rate, show, wait

TEXTURE_EVALUATIONS = 100
SHARED = [method for method in METHODS if method != "corr_cov"]  # by both bootstraps


def loading(device: torch.device, weights: str | None) -> float:
    """Return the seconds that VGG-19 takes to come from a file to the device."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg19.safetensors"
        if weights is None:
            state = network(None).network.state_dict()
            save_file({key: value.contiguous() for key, value in state.items()}, path)
        began = time.perf_counter()
        cp.load_model("vgg19", weights=weights or path, pooling="avg", device=device)
        wait()
        return time.perf_counter() - began


def style(model: Network, side: int, loaded_in: float, evaluations: int) -> None:
    """Print the seconds of a style transfer of pictures with sides of as many pixels at most."""
    for pair in STYLES:
        scene, paint = (
            image_files.resize(cp.exemplar(name), side).to(model.mean.device) for name in pair
        )
        row = compare_style(model, scene, paint, evaluations)
        show(f"style {pair[0]}:", {**row, "ours and loading": row["ours"] + loaded_in})


def batch(model: Network, side: int, count: int) -> None:
    """Print the seconds of textures, one after the other and together."""
    exemplar = image_files.resize(cp.exemplar("brick"), (side, side))

    def make(seeds: list[int]) -> None:
        cp.texture(
            exemplar,
            model=model,
            layers=TEXTURE_LAYERS,
            statistic="gram",
            seed=seeds,
            evaluations=TEXTURE_EVALUATIONS,
        )

    single, together = in_turns(lambda: make([1]), lambda: make(list(range(count))), turns=3)
    alone = statistics.median(single)
    each = statistics.median(together) / count
    show("textures:", {"alone": alone, f"of {count} together": each, "ratio": alone / each})


def inference(device: torch.device, resamples: int) -> None:
    """Print the seconds of bootstraps: 10 models, 10 subjects, 92 stimuli."""
    models, data = labelled(made_up_rdms())
    for bootstrap, method in itertools.product(("both", "dual"), SHARED):
        evaluate = partial(
            rsa.evaluate, models, data, method, bootstrap=bootstrap, n_boot=resamples
        )
        times = in_turns(*(partial(evaluate, device=where) for where in ("cpu", device)), turns=2)
        processor, card = (min(spent) for spent in times)
        row = {"processor": processor, "GPU": card, "ratio": processor / card}
        show(f"{resamples} {bootstrap} {method}:", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["rate", "style", "batch", "inference"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--weights", help="a file of VGG-19's weights; random without")
    parser.add_argument("--side", type=int, default=256, help="of textures, in pixels")
    parser.add_argument("--style-size", type=int, default=512)
    parser.add_argument("--count", type=int, default=64, help="of textures at once")
    parser.add_argument("--evaluations", type=int, default=400, help="of ours, of a style transfer")
    parser.add_argument("--resamples", type=int, default=10_000)
    chosen = parser.parse_args()
    try:
        device = runtime.choose_device(chosen.device)
    except ValueError as error:
        parser.error(str(error))
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(card, runtime.versions())
    model = network(chosen.weights, device)
    if "rate" in chosen.what:
        share_of_rate(model, chosen.style_size)
    if "style" in chosen.what:
        seconds = loading(device, chosen.weights)
        style(model, chosen.style_size, seconds, chosen.evaluations)
    if "batch" in chosen.what:
        batch(model, chosen.side, chosen.count)
    if "inference" in chosen.what:
        inference(device, chosen.resamples)


if __name__ == "__main__":
    main()
