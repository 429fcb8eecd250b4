"""Training of small networks on rendered objects and on crops of pictures."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from . import runtime
from .files import atomic_path
from .models.objects_vgg import BLOCKS, PREPROCESSING, SIDE, WIDTH, SmallVGG
from .models.tracing import seeded
from .objects import ObjectScenes
from .objects.crops import crop_pairs

# numbers of pictures -> what a step learns from
Batch = tuple[Tensor, ...]
MakeBatch = Callable[[range], Batch]
# network, batch -> loss, and the share of right answers
Lesson = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
SMOOTHING = 0.1  # of the labels (Szegedy et al. 2016)
TEMPERATURE = 0.2  # of the contrastive loss (Chen et al. 2020)
WARM_UP = 0.05  # share of the steps in which the rate rises


@dataclasses.dataclass(frozen=True)
class Course:
    """How long and how fast a network is trained.

    Attributes
    ----------
    steps, batch : int
    rate, decay : float
        Largest learning rate, and weight decay, of AdamW (Loshchilov & Hutter 2019). The rate
        rises to the largest and falls as a cosine to zero.
    seed : int
        Of the initial weights; pictures are numbered from 0 on in their own series.
    """

    steps: int = 4000
    batch: int = 128
    rate: float = 2e-3
    decay: float = 0.05
    seed: int = 0


def trainable(network: SmallVGG) -> nn.Module:
    """Return the network with a batch normalisation after each convolution; see `folded`."""
    parts: list[nn.Module] = []
    for module in network.features:
        parts.append(module)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            parts.append(nn.BatchNorm2d(module.out_channels))
    body = nn.Sequential(*parts)
    whole = nn.Sequential(body, network.average, network.classifier)
    return whole.to(memory_format=torch.channels_last)


def folded(trained: nn.Module, network: SmallVGG) -> SmallVGG:
    """Return the small network that computes what the trained one does in evaluation.

    Batch normalisation with fixed statistics is a scale and a shift, which each convolution
    takes over.
    """
    trained.eval()
    body, _, readout = trained.children()
    convolutions = [
        fuse_conv_bn_eval(module, normalisation)
        for module, normalisation in itertools.pairwise(body.children())
        if isinstance(module, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d)
    ]
    places = [module for module in network.features if isinstance(module, nn.Conv2d)]
    for place, convolution in zip(places, convolutions, strict=True):
        place.load_state_dict(convolution.state_dict())
    network.classifier.load_state_dict(readout.state_dict())
    return network.eval()


def learn_objects(
    scenes: ObjectScenes,
    held_out: tuple[Tensor, Tensor],
    course: Course,
    *,
    width: int = WIDTH,
    blocks: int = BLOCKS,
    **running: Any,
) -> tuple[SmallVGG, pd.DataFrame]:
    """Train a small network to name the categories of objects.

    Parameters
    ----------
    scenes : ObjectScenes
        What it is shown, each picture once.
    held_out : (Tensor, Tensor)
        Pictures and labels that the curve's column `held_out` is of.
    course : Course
    width, blocks : int
        Of the network.
    **running
        `evaluations`, `device`, `checkpoint`, `progress` of `train`.

    Returns
    -------
    SmallVGG, DataFrame
        The network, its normalisation folded into the convolutions, and its curve.
    """
    with seeded(course.seed):
        network = SmallVGG(len(scenes.categories), width=width, blocks=blocks)
        whole = trainable(network)

    def batch(numbers: range) -> Batch:
        return scenes.pictures(numbers), scenes.labels(numbers)

    def score(trained: nn.Module) -> float:
        return accuracy(trained, *held_out)

    curve = train(whole, naming, batch, course, evaluate=score, **running)
    return folded(whole.cpu(), network), curve


def learn_crops(
    course: Course, *, size: int = SIDE, width: int = WIDTH, outputs: int = 128, **running: Any
) -> tuple[SmallVGG, pd.DataFrame]:
    """Train a small network, without names, to tell crops of one place from those of others.

    The pictures are the built-in photographs and textures and the synthesised textures; none
    shows a rendered object. The readout becomes a projection that only the training uses, and
    of which the network that is returned keeps nothing but the layer's weights.
    """
    with seeded(course.seed):
        network = SmallVGG(outputs, width=width)
        whole = trainable(network)

    def batch(numbers: range) -> Batch:
        return crop_pairs(numbers, size, course.seed)

    curve = train(whole, telling_apart, batch, course, **running)
    return folded(whole.cpu(), network), curve


def train(
    network: nn.Module,
    lesson: Lesson,
    make_batch: MakeBatch,
    course: Course,
    *,
    evaluate: Callable[[nn.Module], float] | None = None,
    evaluations: int = 10,
    device: str | torch.device = "cpu",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train a network in place; return its curve.

    Batches are made in a thread beside the training. Computes in bfloat16 where the processor
    multiplies it faster; weights and sums stay in float32.

    Parameters
    ----------
    network : nn.Module
    lesson : callable
        network, batch -> loss and share of right answers.
    make_batch : callable
        Numbers of pictures -> batch, the same for the same numbers.
    course : Course
    evaluate : callable, optional
        network -> accuracy on held-out pictures, `evaluations` times along the way.
    device : str or torch.device
    checkpoint : path-like, optional
        Resumed from when it exists, written at every evaluation, removed at the end.
    progress : bool

    Returns
    -------
    DataFrame
        Columns step, loss, accuracy (means since the row before), held_out, seconds.
    """
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=course.rate, weight_decay=course.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, course.steps))
    first, rows = _resume(checkpoint, network, optimiser, schedule)
    marks = {math.ceil(course.steps * (i + 1) / evaluations) for i in range(evaluations)}
    since: list[Tensor] = []
    began = time.monotonic() - (rows[-1]["seconds"] if rows else 0)
    steps = runtime.progress(range(first, course.steps), "steps", show=progress)
    for step, batch in zip(steps, _ahead(make_batch, course, first), strict=True):
        network.train()
        placed = tuple(part.to(device) for part in batch)
        with torch.autocast(
            torch.device(device).type, torch.bfloat16, enabled=runtime.fast_bfloat16(device)
        ):
            loss, right = lesson(network, placed)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        since.append(torch.stack([loss.detach().float(), right.detach().float()]).cpu())
        if step + 1 in marks:
            means = torch.stack(since).mean(dim=0)
            network.eval()
            row = {"step": step + 1, "loss": float(means[0]), "accuracy": float(means[1])}
            row["held_out"] = math.nan if evaluate is None else evaluate(network)
            rows.append({**row, "seconds": round(time.monotonic() - began, 1)})
            since = []
            _save(checkpoint, step + 1, rows, network, optimiser, schedule)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    network.eval()
    return pd.DataFrame(rows)


def naming(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Learn to name the category: batch is pictures (n, 3, side, side) and labels (n,)."""
    pictures, labels = batch
    return named(network(prepared(pictures)), labels)


def named(answers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of answers before the softmax, (n, category), and the share that is right."""
    loss = functional.cross_entropy(answers.float(), labels, label_smoothing=SMOOTHING)
    return loss, (answers.argmax(dim=1) == labels).float().mean()


def telling_apart(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Learn to tell which two crops are of one place: batch is two stacks of pictures.

    The normalised-temperature cross-entropy of Chen, Kornblith, Norouzi & Hinton (2020), eq. 1,
    over all pairs of the batch.
    """
    both = functional.normalize(network(prepared(torch.cat(batch))).float(), dim=1)
    likeness = both @ both.T / TEMPERATURE
    likeness.fill_diagonal_(-torch.inf)
    half = len(both) // 2
    partner = torch.arange(2 * half, device=both.device).roll(half)
    right = (likeness.argmax(dim=1) == partner).float().mean()
    return functional.cross_entropy(likeness, partner), right


def prepared(pictures: Tensor) -> Tensor:
    """Return pictures as the networks take them."""
    mean = pictures.new_tensor(PREPROCESSING.mean).view(1, 3, 1, 1)
    deviation = pictures.new_tensor(PREPROCESSING.deviation).view(1, 3, 1, 1)
    return ((pictures - mean) / deviation).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Tensor, labels: Tensor, batch: int = 256) -> float:
    """Return the share of pictures whose category the network names rightly."""
    where = next(network.parameters()).device
    right = 0
    for start in range(0, len(pictures), batch):
        answers = network(prepared(pictures[start : start + batch].to(where)))
        right += int((answers.argmax(dim=1).cpu() == labels[start : start + batch]).sum())
    return right / len(pictures)


def _rate(step: int, steps: int) -> float:
    rising = (step + 1) / max(1, WARM_UP * steps)
    return min(1.0, rising) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def _ahead(make_batch: MakeBatch, course: Course, first: int) -> Iterator[Batch]:
    """Yield the batches from a step on, each being made while the one before is learnt from."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as maker:
        waiting = []
        for step in range(first, course.steps):
            numbers = range(step * course.batch, (step + 1) * course.batch)
            waiting.append(maker.submit(make_batch, numbers))
            if len(waiting) > 2:
                yield waiting.pop(0).result()
        for batch in waiting:
            yield batch.result()


def _resume(
    checkpoint: str | os.PathLike[str] | None,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[int, list[dict[str, Any]]]:
    if checkpoint is None or not Path(checkpoint).exists():
        return 0, []
    saved = torch.load(checkpoint, weights_only=True)
    network.load_state_dict(saved["network"])
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    return int(saved["step"]), list(saved["rows"])


def _save(
    checkpoint: str | os.PathLike[str] | None,
    step: int,
    rows: Iterable[dict[str, Any]],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    if checkpoint is None:
        return
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
    with atomic_path(Path(checkpoint)) as path:
        torch.save({**state, "schedule": schedule.state_dict(), "step": step, "rows": rows}, path)
