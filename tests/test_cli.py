"""The commands as a user types them, end to end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from PIL import Image
from typer.testing import CliRunner

import cnnperception as cp
from cnnperception.cli import app
from cnnperception.datasets import IMAGES_FILE, load_92images

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_92images = pytest.mark.skipif(
    not (SHARED / "92images").exists(), reason="the 92-image data set is not at ../shared/data"
)


def _run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for name in ("brick", "coffee", "chelsea"):
        picture = cp.exemplar(name, size=(64, 64))
        (root / name).mkdir()
        for turn in range(2):
            cp.images.write(root / name / f"{turn}.png", picture.rot90(turn, (2, 3)))
    return root


@pytest.fixture(scope="module")
def vgg19_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = cp.load_model("vgg19", weights=None, device="cpu")
    state = model.network.state_dict()
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save({key: value for key, value in state.items() if "features" in key}, path)
    return path


def test_texture_writes_an_image_and_how_it_was_made(tmp_path: Path) -> None:
    out = tmp_path / "t.png"
    printed = _run(
        "texture",
        "brick",
        "-o",
        out,
        "--size",
        "80x64",
        "--exemplar-size",
        160,
        "--evaluations",
        8,
        "--seed",
        5,
        "--device",
        "cpu",
        "-q",
    )
    assert str(out) in printed
    assert Image.open(out).size == (64, 80)
    record = cp.images.read_provenance(out)
    assert record["seed"] == 5
    assert record["finished"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.png", "t.png.json"]


def test_metamer_writes_an_image_and_says_how_near_it_came(tmp_path: Path) -> None:
    out = tmp_path / "m.png"
    command = ("metamer", "coins", "-o", out, "--model", "hmax", "--layers", "c1/band1,c2/4")
    printed = _run(*command, "--size", 48, "--evaluations", 20, "--device", "cpu", "-q")
    assert "c1/band1: 0." in printed
    assert "of the start's distance" in printed
    assert cp.images.read(out).shape[-2:] == cp.exemplar("coins", size=48).shape[-2:]
    record = cp.images.read_provenance(out)
    assert record["layers"] == ["c1/band1", "c2/4"]
    assert set(record["distances"]) == {"c1/band1", "c2/4"}


def test_a_metamer_can_begin_with_an_image(tmp_path: Path) -> None:
    out = tmp_path / "m.png"
    command = ("metamer", "coins", "-o", out, "--model", "pixels", "--layers", "pixels")
    _run(*command, "--size", 32, "--start", "coins", "--evaluations", 2, "-q", "--device", "cpu")
    difference = cp.images.read(out) - cp.exemplar("coins", size=32)
    assert difference.abs().max() <= 0.5 / 255 + 1e-6


def test_foveated_keeps_what_is_looked_at_and_says_how_near_the_rest_came(tmp_path: Path) -> None:
    out = tmp_path / "f.png"
    command = ("foveated", "coffee", "-o", out, "--size", 64, "--layers", "scale1", "-q")
    where = ("--fixation", "50,12", "--fovea", 8, "--scaling", 0.8, "--device", "cpu")
    printed = _run(*command, *where, "--evaluations", 5, "--seed", 3)
    assert "scale1: 0." in printed
    made, original = cp.images.read(out), cp.exemplar("coffee", size=64)
    difference = (made - original).abs().amax(dim=1)[0]
    assert difference[10:15, 48:53].max() < 0.01
    assert difference[:, :30].mean() > 0.05
    record = cp.images.read_provenance(out)
    assert (record["fixation"], record["fovea"], record["scaling"]) == ([12, 50], 8, 0.8)
    assert record["seed"] == 3
    assert "fixation is x,y in pixels" in _run(*command, "--fixation", "50", status=1)
    assert "outside of the image" in _run(*command, "--fixation", "500,1", status=1)


def test_samples_are_files_numbered_by_their_seeds(tmp_path: Path) -> None:
    command = ("texture", "gravel", "--exemplar-size", 64, "--layers", "scale1", "-q", "--no-judge")
    options = ("--evaluations", 6, "--device", "cpu", "--seed", 4)
    _run(*command, *options, "-o", tmp_path / "t.png", "--samples", 2)
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["t-4.png", "t-5.png"]
    _run(*command, *options[:-1], 5, "-o", tmp_path / "alone.png")
    same, alone = (cp.images.read(tmp_path / name) for name in ("t-5.png", "alone.png"))
    torch.testing.assert_close(same, alone, atol=2 / 255, rtol=0)
    assert cp.images.read_provenance(tmp_path / "t-5.png")["seed"] == 5
    assert "1 or more" in _run(*command, "-o", tmp_path / "n.png", "--samples", 0, status=1)


def test_style_writes_an_image_of_the_contents_shape(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.png"
    _run(
        "style",
        folder / "coffee/0.png",
        "chelsea",
        "-o",
        out,
        "--size",
        64,
        "--evaluations",
        6,
        "--device",
        "cpu",
        "-q",
    )
    assert Image.open(out).size == (64, 64)


def test_extract_stores_layers_that_open_with_xarray(folder: Path, tmp_path: Path) -> None:
    for name in ("a.zarr", "a.nc"):
        _run(
            "extract",
            folder,
            "-o",
            tmp_path / name,
            "--model",
            "random-filters",
            "--layers",
            "scale1,scale3",
            "--device",
            "cpu",
            "-q",
        )
    tree = xr.open_datatree(tmp_path / "a.nc", engine="h5netcdf")
    assert tree["scale3"]["activations"].shape == (6, 99, 16, 16)
    assert tree["scale3"]["category"].to_numpy().tolist()[:2] == ["brick", "brick"]


def test_rsa_prints_a_table_and_writes_figures_and_a_report(folder: Path, tmp_path: Path) -> None:
    printed = _run(
        "rsa",
        folder,
        "--model",
        "hmax",
        "--model",
        "random-filters",
        "--layers",
        "c1/band1,scale*",
        "-o",
        tmp_path,
        "--device",
        "cpu",
        "-q",
    )
    assert "scale5" in printed
    assert str(tmp_path / "report.html") in printed
    names = {path.name for path in tmp_path.iterdir()}
    assert {"rdms_hmax.png", "rdms_hmax.pdf", "model_similarity.png", "rdms.nc"} <= names
    table = pd.read_csv(tmp_path / "model_similarity.csv", header=[0, 1], index_col=[0, 1])
    np.testing.assert_allclose(np.diag(table), 1)
    assert "<img" in (tmp_path / "report.html").read_text()


def test_rsa_compares_with_an_rdm_from_a_file(folder: Path, tmp_path: Path) -> None:
    ids = cp.StimulusSet.from_folder(folder).ids
    matrix = 1.0 - np.kron(np.eye(3), np.ones((2, 2)))
    frame = pd.DataFrame(matrix, index=ids, columns=ids).iloc[::-1, ::-1]
    frame.to_csv(tmp_path / "pairs.csv")
    printed = _run(
        "rsa",
        folder,
        "--model",
        "pixels",
        "--data",
        tmp_path / "pairs.csv",
        "-o",
        tmp_path / "out",
        "--device",
        "cpu",
        "-q",
    )
    assert "pairs" in printed
    similarity = pd.read_csv(tmp_path / "out" / "data_similarity.csv")["similarity"]
    rdm = cp.rsa.rdm(cp.StimulusSet.from_folder(folder).batch(range(6)))
    np.testing.assert_allclose(similarity, cp.rsa.compare(rdm, cp.rsa.condensed(matrix))[0])
    pd.DataFrame(matrix[:4, :4], index=ids[:4], columns=ids[:4]).to_csv(tmp_path / "few.csv")
    assert "no row for stimulus" in _run(
        "rsa",
        folder,
        "--model",
        "pixels",
        "--data",
        tmp_path / "few.csv",
        "-o",
        tmp_path / "x",
        status=1,
    )


def test_a_vgg19_state_dict_works_in_every_command(folder, vgg19_file, tmp_path) -> None:
    vgg = ("--model", "vgg19", "--weights", vgg19_file, "--device", "cpu", "-q")
    _run(
        "texture",
        "gravel",
        "-o",
        tmp_path / "t.png",
        "--size",
        64,
        "--layers",
        "conv1_1,pool2",
        "--evaluations",
        3,
        "--exemplar-size",
        96,
        *vgg,
    )
    assert cp.images.read_provenance(tmp_path / "t.png")["model"]["weights"] == "vgg19.pth"
    _run(
        "style",
        folder / "coffee/0.png",
        "chelsea",
        "-o",
        tmp_path / "s.png",
        "--size",
        64,
        "--evaluations",
        3,
        *vgg,
    )
    _run("extract", folder, "-o", tmp_path / "a.zarr", "--layers", "pool5", *vgg)
    printed = _run("rsa", folder, "--layers", "pool1,pool5", "-o", tmp_path / "rsa", *vgg)
    assert "pool5" in printed


def test_without_weights_or_network_the_message_helps(monkeypatch, tmp_path: Path) -> None:
    from torchvision.models import VGG19_Weights

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(type(VGG19_Weights.DEFAULT), "get_state_dict", offline)
    printed = _run("texture", "brick", "-o", tmp_path / "t.png", "--model", "vgg19", status=1)
    for part in ("vgg19-dcbb9e9d.pth", "--weights none", "random-filters"):
        assert part in " ".join(printed.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("texture", "nowhere.png", "-o", "t.png"), "no such file"),
        (("texture", "brick", "-o", "t.gif"), "images are written as"),
        (("texture", "brick", "-o", "t.png", "--layers", "conv9"), "not in random-filters"),
        (("texture", "brick", "-o", "t.png", "--layers", ","), "no layers were given"),
        (("texture", "brick", "-o", "t.png", "--size", "big"), "HEIGHTxWIDTH"),
        (("texture", "brick", "-o", "t.png", "--exemplar-size", "40"), "a larger exemplar"),
        (("texture", "brick", "-o", "t.png", "--model", "vgg-19"), "did you mean"),
        (("texture", "brick", "-o", "t.png", "--device", "tpu"), "device"),
        (("metamer", "brick", "-o", "m.png", "--layers", "c9"), "not in hmax"),
        (("metamer", "brick", "-o", "m.png", "--layers", ","), "no layers were given"),
        (("metamer", "brick", "-o", "m.png", "--layers", "c1", "--size", "24"), "too small"),
        (("rsa", "nowhere", "--model", "hmax"), "no such folder"),
        (("extract", "nowhere", "-o", "a.zarr"), "no such folder"),
    ],
)
def test_faults_are_one_line_that_says_what_to_do(
    arguments, message, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = " ".join(_run(*arguments, status=1).split())
    assert "error:" in printed
    assert message in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.iterdir())


def test_a_reader_that_closes_early_sees_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from cnnperception.cli import main; main()", "models"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert not done.stderr


def test_models_lists_names_and_layers() -> None:
    assert "vgg19" in _run("models")
    layers = _run("models", "vgg19").split()
    assert {"conv1_1", "pool5", "fc8"} <= set(layers)


def _texture_process(out: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        "from cnnperception.cli import main; main()",
        "texture",
        "brick",
        "-o",
        str(out),
        "--size",
        "64",
        "--exemplar-size",
        "150",
        "--evaluations",
        "120",
        "--device",
        "cpu",
        "-q",
    ]
    return subprocess.Popen(
        command,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # Shells start jobs in the background with interrupts ignored, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_broken_synthesis_goes_on_to_the_same_image(tmp_path: Path, kind: int) -> None:
    out, checkpoint = tmp_path / "t.png", tmp_path / "t.png.checkpoint"
    process = _texture_process(out)
    _wait_for(checkpoint, process)
    process.send_signal(kind)
    _, errors = process.communicate()
    if kind == signal.SIGINT:
        assert process.returncode == 130
        assert "best image so far" in errors
        assert cp.images.read_provenance(out)["finished"] is False
    else:
        assert not out.exists()
    assert checkpoint.exists()
    again = _texture_process(out)
    again.communicate()
    assert again.returncode == 0
    assert not checkpoint.exists()
    unbroken = _texture_process(tmp_path / "u.png")
    unbroken.communicate()
    assert torch.equal(cp.images.read(out), cp.images.read(tmp_path / "u.png"))


@needs_92images
def test_the_92_images_and_their_brain_rdms_load() -> None:
    stimuli, rdms = load_92images(SHARED / "92images")
    assert len(stimuli) == 92
    assert stimuli.table["category"].value_counts().to_dict() == {
        "natural object": 23,
        "artificial object": 21,
        "human body": 12,
        "human face": 12,
        "animal body": 12,
        "animal face": 12,
    }
    human, monkey = rdms.sel(rdm="human IT"), rdms.sel(rdm="monkey IT")
    assert cp.rsa.compare(human, monkey, "corr")[0, 0] == pytest.approx(0.491, abs=5e-4)
    assert cp.rsa.compare(human, monkey, "spearman")[0, 0] == pytest.approx(0.439, abs=5e-4)
    subjects = rdms.sel(rdm=[f"human IT subject {i}" for i in range(1, 5)])
    mean = cp.rsa.condensed(subjects.mean("rdm").to_numpy(), stimuli.ids)
    assert cp.rsa.compare(mean, human)[0, 0] == pytest.approx(1, abs=1e-3)


def test_rsa_takes_stored_activations_and_several_subjects(folder: Path, tmp_path: Path) -> None:
    ids = cp.StimulusSet.from_folder(folder).ids
    rng = np.random.default_rng(0)
    for name in ("anne", "bert"):
        cp.rsa.write_rdms(tmp_path / f"{name}.csv", cp.rsa.condensed(rng.random(15), ids))
    store = tmp_path / "v1.zarr"
    _run("extract", folder, "-o", store, "--model", "v1", "--device", "cpu", "-q")
    printed = _run(
        "rsa",
        folder,
        "--activations",
        store,
        "--data",
        tmp_path / "anne.csv",
        "--data",
        tmp_path / "bert.csv",
        "--n-boot",
        "20",
        "-o",
        tmp_path / "out",
        "-q",
    )
    assert "anne" in printed
    assert "bert" in printed
    table = pd.read_csv(tmp_path / "out" / "evaluation_layers.csv", index_col="model")
    assert list(table.index) == [f"v1 scale{i}" for i in range(1, 5)]
    assert "2 subjects, 6 stimuli" in (tmp_path / "out" / "report.html").read_text()
    assert "give a model" in _run("rsa", folder, "-o", tmp_path / "none", status=1)


def _subject_files(folder: Path, root: Path, names: list[str]) -> list[Path]:
    ids = cp.StimulusSet.from_folder(folder).ids
    rng = np.random.default_rng(0)
    paths = [root / name for name in names]
    for path in paths:
        rdm = cp.rsa.condensed(rng.random(15), ids)
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".npz":
            np.savez(path, cp.rsa.square(rdm))
        else:
            cp.rsa.write_rdms(path, rdm)
    return paths


def _data_names(folder: Path, files: list[Path], output: Path) -> list[str]:
    """Return what the table of a comparison with these files calls their RDMs."""
    options = [argument for file in files for argument in ("--data", file)]
    _run("rsa", folder, "--model", "pixels", "--n-boot", 5, *options, "-o", output, "-q")
    similarity = pd.read_csv(output / "data_similarity.csv")
    return list(dict.fromkeys(similarity["data"]))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["anne/rdm.csv", "bert/rdm.csv"], ["anne rdm", "bert rdm"]),
        (["anne.npz", "bert.npz"], ["anne arr_0", "bert arr_0"]),
        (["a/x.npz", "b/x.npz", "y.csv"], ["a x arr_0", "b x arr_0", "y"]),
    ],
)
def test_rdms_of_several_files_are_told_apart(names, found, folder, tmp_path) -> None:
    files = _subject_files(folder, tmp_path, names)
    assert _data_names(folder, files, tmp_path / "out") == found


def test_a_file_given_twice_is_numbered(folder: Path, tmp_path: Path) -> None:
    (file,) = _subject_files(folder, tmp_path, ["s/rdm.csv"])
    assert _data_names(folder, [file, file], tmp_path / "out") == ["s rdm", "s rdm (2)"]


def test_an_rdm_of_which_no_subject_is_known_is_one_subjects(folder: Path, tmp_path: Path) -> None:
    (anne,) = _subject_files(folder, tmp_path, ["anne.csv"])
    ids = cp.StimulusSet.from_folder(folder).ids
    rng = np.random.default_rng(1)
    group = cp.rsa.concat({n: cp.rsa.condensed(rng.random(15), ids) for n in ("mean", "bert")})
    cp.rsa.write_rdms(tmp_path / "group.nc", group.assign_coords(subject=("rdm", ["", "bert"])))
    files = [tmp_path / "group.nc", anne]
    assert _data_names(folder, files, tmp_path / "out") == ["mean", "bert", "anne"]
    assert "2 subjects, 6 stimuli" in (tmp_path / "out" / "report.html").read_text()


def test_rsa_takes_the_layers_asked_for_out_of_stores(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "v1.zarr"
    _run("extract", folder, "-o", store, "--model", "v1", "--device", "cpu", "-q")
    command = ("rsa", folder, "--activations", store, "-o", tmp_path / "out", "-q")
    printed = _run(*command, "--layers", "scale[34]")
    assert "scale3" in printed
    assert "scale4" in printed
    assert "scale1" not in printed
    assert "layer 'nonsense' is not in v1" in _run(*command, "--layers", "nonsense", status=1)


@pytest.mark.parametrize("name", ["rdms.nc", "pictures", "notes.txt"])
def test_what_is_no_store_of_activations_is_refused_in_one_line(
    name: str, folder: Path, tmp_path: Path
) -> None:
    ids = cp.StimulusSet.from_folder(folder).ids
    cp.rsa.write_rdms(tmp_path / "rdms.nc", cp.rsa.condensed(np.ones(15), ids))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    command = ("rsa", folder, "--activations", tmp_path / name, "-o", tmp_path / "out", "-q")
    (line,) = _run(*command, status=1).splitlines()
    assert line.startswith("error: ")
    assert name in line


@needs_92images
def test_the_92_images_without_single_subjects_are_compared_and_not_tested(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / IMAGES_FILE).symlink_to((SHARED / "92images" / IMAGES_FILE).absolute())
    command = ("rsa", data, "--model", "pixels", "--size", 16, "-o", tmp_path / "out", "-q")
    with pytest.warns(UserWarning, match="not tested"):
        printed = _run(*command)
    assert "monkey IT" in printed
    assert "Models were not tested" in (tmp_path / "out" / "report.html").read_text()


@needs_92images
def test_rsa_of_the_92_images_prints_similarity_with_human_it(tmp_path: Path) -> None:
    printed = _run(
        "rsa",
        SHARED / "92images",
        "--model",
        "hmax",
        "--model",
        "pixels",
        "--layers",
        "c2,pixels",
        "--n-boot",
        "100",
        "-o",
        tmp_path,
        "--device",
        "cpu",
        "-q",
    )
    assert "human IT" in printed
    assert (tmp_path / "profile_human_IT.png").exists()
    layers = pd.read_csv(tmp_path / "evaluation_layers.csv", index_col="model")
    assert layers["p_zero"].between(0, 1).all()
    report = (tmp_path / "report.html").read_text()
    assert "4 subjects, 92 stimuli; stimuli were resampled" in report


@needs_92images
def test_c2_of_the_92_images_is_a_little_like_human_it_and_more_so_than_v1_and_pixels() -> None:
    stimuli, rdms = load_92images(SHARED / "92images")
    images = stimuli.batch(range(len(stimuli)))

    def similarity(name: str, layers: str) -> float:
        features = cp.load_model(name).features(images, [layers])
        units = torch.cat([values.flatten(1) for values in features.values()], dim=1)
        rdm = cp.rsa.condensed(cp.rsa.rdm(units), stimuli.ids)
        return float(cp.rsa.compare(rdm, rdms.sel(rdm="human IT"))[0, 0])

    with torch.no_grad():
        c2, v1, pixels = (similarity(*m) for m in (("hmax", "c2"), ("v1", "*"), ("pixels", "*")))
    assert 0.05 < c2 < 0.25
    assert c2 > v1 > pixels
