"""Commands that compare what models represent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import arguments
from .arguments import (
    Device,
    Layers,
    ModelName,
    ModelSeed,
    Output,
    Pooling,
    Quiet,
    Seed,
    Skip,
    Weights,
)

if TYPE_CHECKING:
    import xarray as xr

    from ..stimuli import StimulusSet


def extract(
    stimuli: Annotated[Path, typer.Argument(help="Folder of images.")],
    output: Output,
    model: ModelName = "hmax",
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    layers: Layers = None,
    size: Annotated[str | None, typer.Option(help="Resize to HEIGHTxWIDTH, or a side.")] = None,
    readout: Annotated[
        str, typer.Option(help="full, mean, gram, projection, pca; or by layer: c1=mean,c2=full.")
    ] = "full",
    batch_size: Annotated[int | None, typer.Option(help="Chosen by itself when left out.")] = None,
    skip_unreadable: Skip = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a store of other settings.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Store the activations of a model's layers as .zarr or .nc; a killed run resumes.

    Example: cnnperception extract pictures/ -o hmax.zarr --model hmax --layers c1,c2 --size 224
    """
    from ..activations import extract as run

    pictures, _ = _stimuli(stimuli)
    tree = run(
        arguments.load(model, weights, pooling, model_seed, device),
        pictures,
        layers=arguments.split(layers),
        size=arguments.size(size),
        batch_size="auto" if batch_size is None else batch_size,
        readout=_readout(readout),
        store=output,
        skip_unreadable=skip_unreadable,
        overwrite=overwrite,
        seed=seed,
        progress=not quiet,
    )
    for node in tree.leaves:
        shape = dict(node["activations"].sizes)
        typer.echo(f"{node.path.strip('/'):24s} {shape}")
    typer.echo(output)


def rsa(
    stimuli: Annotated[
        Path, typer.Argument(help="Folder of images, or of the 92-image data set's files.")
    ],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Give it once for each model.")
    ] = None,
    activations: Annotated[
        list[Path] | None,
        typer.Option(help="Stored activations to compare as well; give it once for each store."),
    ] = None,
    output: Output = Path("reports/rsa"),
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    layers: Layers = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="RDMs to compare with, each a subject: .csv, .npy, .npz, .nc, .h5"),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Resize to HEIGHTxWIDTH, or a side.")] = None,
    metric: Annotated[str, typer.Option(help="correlation, euclidean, cosine.")] = "correlation",
    method: Annotated[
        str, typer.Option(help="spearman, corr, cosine, rho-a, tau-a, corr_cov ...")
    ] = "spearman",
    bootstrap: Annotated[
        str, typer.Option(help="What tests resample: dual, both, stimuli, subjects, none, auto.")
    ] = "auto",
    n_boot: Annotated[int, typer.Option(help="Number of resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    skip_unreadable: Skip = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Compare models by the similarity of their representations, with each other and with data.

    With several models, --weights, --pooling and --model-seed go to the torchvision networks.

    Example: cnnperception rsa pictures/ --model hmax --model random-filters --size 128
    """
    from ..recipes import run_rsa

    pictures, brains = _stimuli(stimuli)
    if data:
        brains = _read_rdms(data, pictures)
    loaded = [arguments.load(name, weights, pooling, model_seed, device) for name in model or []]
    table, report = run_rsa(
        loaded,
        pictures,
        output,
        activations=activations or [],
        data=brains,
        layers=arguments.split(layers),
        size=arguments.size(size),
        metric=metric,
        method=method,
        bootstrap=None if bootstrap.lower() == "none" else bootstrap,
        n_boot=n_boot,
        seed=seed,
        skip_unreadable=skip_unreadable,
        progress=not quiet,
    )
    typer.echo(table.to_string())
    typer.echo(report)


def _stimuli(path: Path) -> tuple[StimulusSet, xr.DataArray | None]:
    from .. import datasets
    from ..stimuli import StimulusSet

    if path.suffix == ".mat" or (path / datasets.IMAGES_FILE).exists():
        return datasets.load_92images(path)
    return StimulusSet.from_folder(path), None


def _read_rdms(paths: list[Path], stimuli: StimulusSet) -> xr.DataArray:
    """Return the RDMs of all files, no two of the same name, with the coordinate `subject`."""
    import xarray as xr

    from .. import rsa
    from ..compared import distinct

    stacks = [rsa.read_rdms(path, list(stimuli.ids)) for path in paths]
    names = distinct(
        [
            _names(path, str(name))
            for path, stack in zip(paths, stacks, strict=True)
            for name in stack["rdm"].to_numpy()
        ]
    )
    given = [subject for stack in stacks for subject in _subjects(stack)]
    # An RDM of which no subject is known is one's own, as with files that can name none.
    subjects = [one if one is not None else name for one, name in zip(given, names, strict=True)]
    plain = [s.drop_vars(set(s.coords) - {"stimulus_a", "stimulus_b"}) for s in stacks]
    joined = xr.concat(plain, dim="rdm", join="exact")
    return joined.assign_coords(rdm=names, subject=("rdm", subjects))


def _names(path: Path, name: str) -> tuple[str, str, str]:
    """Return what an RDM of a file can be called: by itself, with the file, with its folder."""
    # RDMs of files without names are called as the file is.
    named_after_file = name == path.stem or name.startswith(f"{path.stem} ")
    longer = name if named_after_file else f"{path.stem} {name}"
    return name, longer, f"{path.absolute().parent.name} {longer}"


def _subjects(rdms: xr.DataArray) -> list[str | None]:
    count = rdms.sizes["rdm"]
    if "subject" not in rdms.coords:
        return [None] * count
    # One for all where there is one alone.
    return [str(subject.item()) for subject in rdms["subject"].broadcast_like(rdms["rdm"])]


def _readout(text: str) -> str | dict[str, str]:
    if "=" not in text:
        return text
    pairs = [part.partition("=") for part in arguments.split(text) or []]
    return {layer.strip(): name.strip() for layer, _, name in pairs}
