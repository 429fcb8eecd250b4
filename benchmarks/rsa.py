"""How fast RSA is, against rsatoolbox, scipy and netrep's ways: `python -m benchmarks.rsa`.

Each row is timed in turns with its peer in one run, the fastest turn counting, after their
results were compared. A bootstrap by the peer is timed on fewer resamples and scaled up to as many
as ours: it works on one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import torch
import xarray as xr

from cnnperception import rsa, runtime, similarity

METHODS = ("corr", "cosine", "spearman", "rho-a", "tau-a", "corr_cov")
# The peer's resamples: about as long as 1000 of ours.
PEER_RESAMPLES = {"corr_cov": 4}


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes, with what it prints and warns of left out."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        action()
        return time.perf_counter() - start


def in_turns(
    ours: Callable[[], object], peer: Callable[[], object], turns: int
) -> tuple[float, float]:
    """Return the fastest of several turns of each, taken alternately."""
    ours()  # warm-up
    pairs = [(seconds(ours), seconds(peer)) for _ in range(turns)]
    return min(p[0] for p in pairs), min(p[1] for p in pairs)


def row(what: str, ours: float, peer: float, note: str = "") -> None:
    """Print a row of the table."""
    print(f"{what:52s}{ours:10.3f}{peer:10.2f}{peer / ours:9.1f}  {note}", flush=True)


def dissimilarities(turns: int) -> None:
    """Print the rows of RDMs of patterns."""
    import rsatoolbox
    from scipy.spatial.distance import pdist

    patterns = np.random.default_rng(0).normal(size=(1000, 20_000))
    dataset = rsatoolbox.data.Dataset(patterns)
    matrix = torch.from_numpy(patterns)
    product = min(seconds(lambda: matrix @ matrix.T) for _ in range(3))
    for metric in ("correlation", "euclidean"):
        found = rsa.rdm(patterns, metric).to_numpy()
        peer = rsatoolbox.rdm.calc_rdm(dataset, method=metric).get_vectors()[0]
        np.testing.assert_allclose(found, peer, atol=1e-9)
        times = in_turns(
            lambda m=metric: rsa.rdm(patterns, m),  # type: ignore[misc]
            lambda m=metric: rsatoolbox.rdm.calc_rdm(dataset, method=m),  # type: ignore[misc]
            turns,
        )
        row(
            f"RDM {metric}, 1000 x 20,000, rsatoolbox",
            *times,
            f"matrix product {product / times[0]:.0%} of ours",
        )
    short = patterns[:, :2000]
    times = in_turns(lambda: rsa.rdm(short, "manhattan"), lambda: pdist(short, "cityblock"), turns)
    row("RDM manhattan, 1000 x 2000, scipy", *times)


def made_up_rdms() -> tuple[np.ndarray, np.ndarray]:
    """Return RDMs of 10 models and of 10 subjects, 92 stimuli, each (10, pair)."""
    rng = np.random.default_rng(0)
    return rng.random((10, 4186)), rng.random((10, 4186))


def labelled(rdms: Iterable[np.ndarray]) -> list[xr.DataArray]:
    """Return such RDMs as our functions take them."""
    ids = [f"{number:02d}" for number in range(92)]
    return [
        rsa.concat({f"{letter}{i}": rsa.condensed(v, ids) for i, v in enumerate(values)})
        for letter, values in zip("ms", rdms, strict=True)
    ]


def bootstraps(turns: int, n_boot: int, device: torch.device) -> None:
    """Print the rows of inference: 10 models, 10 subjects, 92 stimuli."""
    import rsatoolbox
    from rsatoolbox.inference import eval_bootstrap, eval_dual_bootstrap

    models, data = values = made_up_rdms()
    ours_models, ours_data = labelled(values)
    their_models = [rsatoolbox.model.ModelFixed(f"m{i}", v) for i, v in enumerate(models)]
    their_data = rsatoolbox.rdm.RDMs(data)
    for bootstrap, theirs in (("both", eval_bootstrap), ("dual", eval_dual_bootstrap)):
        for method in METHODS:
            if bootstrap == "dual" and method == "corr_cov":
                continue
            few = PEER_RESAMPLES.get(method, 40)

            def ours(bootstrap: str = bootstrap, method: str = method) -> None:
                rsa.evaluate(
                    ours_models,
                    ours_data,
                    method,
                    bootstrap=bootstrap,
                    n_boot=n_boot,
                    device=device,
                )

            def peer(theirs: Callable = theirs, method: str = method, few: int = few) -> None:
                theirs(their_models, their_data, method=method, N=few)

            mine, other = in_turns(ours, peer, turns)
            row(f"{n_boot} resamples, {bootstrap}, {method}", mine, other * n_boot / few)


def similarities(turns: int) -> None:
    """Print the rows of similarities of ten layers, 500 stimuli x 2000 units, all with all.

    The peers restate how they are usually computed: a pair at a time, kernels made anew for each
    of the three terms of CKA; the shape distance by a singular value decomposition in the space of
    units, as netrep does.
    """
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.normal(size=(500, 2000)) for i in range(10)}
    pairs = [(a, b) for i, a in enumerate(layers) for b in list(layers)[i:]]

    def hsic(x: np.ndarray, y: np.ndarray) -> float:
        k, l = x @ x.T, y @ y.T  # noqa: E741
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        n = len(x)
        total = (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2))
        return (total - 2 / (n - 2) * (k.sum(0) @ l.sum(0))) / (n * (n - 3))

    def cka() -> dict[tuple[str, str], float]:
        found = {}
        for a, b in pairs:
            x, y = layers[a], layers[b]
            found[a, b] = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
        return found

    def shape() -> dict[tuple[str, str], float]:
        x, y = (layers[name] - layers[name].mean(axis=0) for name in pairs[1])
        nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
        return {pairs[1]: np.arccos(nuclear / np.linalg.norm(x) / np.linalg.norm(y))}

    matrix = similarity.similarity_matrix(layers)
    np.testing.assert_allclose(
        [matrix.sel(layer=a, other_layer=b) for a, b in pairs], [*cka().values()]
    )
    row("CKA, 10 x 10 layers", *in_turns(lambda: similarity.similarity_matrix(layers), cka, turns))
    one, other = (layers[name] for name in pairs[1])
    np.testing.assert_allclose(
        similarity.angular_shape_distance(one, other), shape()[pairs[1]], atol=1e-6
    )
    times = in_turns(lambda: similarity.angular_shape_distance(one, other), shape, turns)
    row("angular shape distance, a pair, as netrep", *times)


def main() -> None:
    """Print a table: what, our seconds, the peer's, their ratio."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = runtime.choose_device(options.device)
    print(f"{device}, {options.threads} threads")
    print(f"{'what':52s}{'ours s':>10s}{'peer s':>10s}{'ratio':>9s}")
    if device.type == "cpu":
        dissimilarities(options.turns)
        similarities(options.turns)
    bootstraps(options.turns, options.resamples, device)


if __name__ == "__main__":
    main()
