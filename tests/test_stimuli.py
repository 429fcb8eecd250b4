from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import cnnperception as cp
from cnnperception.images import ImageError
from cnnperception.stimuli import builtin_exemplars


def _save(path: Path, value: int = 0, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def test_a_folder_is_read_recursively_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        _save(tmp_path / "faces" / f"im{number}.png", number)
    _save(tmp_path / "tools" / "deep" / "a.jpg")
    _save(tmp_path / ".hidden" / "b.png")
    _save(tmp_path / "tools" / ".c.png")
    (tmp_path / "notes.txt").write_text("no image")
    stimuli = cp.StimulusSet.from_folder(tmp_path)
    assert stimuli.ids == ["faces/im1", "faces/im2", "faces/im10", "tools/deep/a"]
    assert stimuli.table["category"].tolist() == ["faces", "faces", "faces", "tools"]
    assert stimuli.table.columns[0] == "stimulus_id"
    assert stimuli.image("faces/im10").max().item() == pytest.approx(10 / 255)


def test_ids_stay_unique_when_only_the_ending_differs(tmp_path: Path) -> None:
    _save(tmp_path / "a.png")
    _save(tmp_path / "a.bmp")
    _save(tmp_path / "b.png")
    assert cp.StimulusSet.from_folder(tmp_path).ids == ["a.bmp", "a.png", "b"]


def test_a_table_beside_the_images_gives_order_and_columns(tmp_path: Path) -> None:
    for name in "abc":
        _save(tmp_path / f"{name}.png", ord(name))
    (tmp_path / "stimuli.csv").write_text("file,animate\nc.png,1\na.png,0\n")
    stimuli = cp.StimulusSet.from_folder(tmp_path)
    assert stimuli.ids == ["c", "a"]
    assert stimuli.table["animate"].tolist() == [1, 0]
    other = tmp_path / "other.csv"
    other.write_text("stimulus_id,path\nfirst,b.png\n")
    assert cp.StimulusSet.from_folder(tmp_path, other).ids == ["first"]


def test_names_in_a_table_are_text(tmp_path: Path) -> None:
    for name in ("001", "002"):
        _save(tmp_path / name / "a.png")
        _save(tmp_path / f"{name}.png")
    (tmp_path / "stimuli.csv").write_text("stimulus_id,file,image\n001,002.png,3\n1,001.png,4\n")
    stimuli = cp.StimulusSet.from_folder(tmp_path)
    assert stimuli.ids == ["001", "1"]
    # Another column than the one that names the files keeps its numbers.
    assert stimuli.table["image"].tolist() == [3, 4]


def test_only_an_empty_cell_of_text_is_missing(tmp_path: Path) -> None:
    for name in "abcd":
        _save(tmp_path / f"{name}.png")
    (tmp_path / "stimuli.csv").write_text(
        "file,category,size,animate\na.png,None,1.5,True\nb.png,NA,,False\n"
        "c.png,,NA,True\nd.png,null,2,False\n"
    )
    table = cp.StimulusSet.from_folder(tmp_path).table
    assert table["category"].tolist()[:2] == ["None", "NA"]
    assert table["category"].isna().tolist() == [False, False, True, False]
    np.testing.assert_array_equal(table["size"].to_numpy(), [1.5, np.nan, np.nan, 2])
    assert table["animate"].dtype == bool


def test_faults_of_folders_and_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        cp.StimulusSet.from_folder(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no images"):
        cp.StimulusSet.from_folder(tmp_path)
    _save(tmp_path / "a.png")
    with pytest.raises(NotADirectoryError, match="is a file"):
        cp.StimulusSet.from_folder(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="no such table"):
        cp.StimulusSet.from_folder(tmp_path, tmp_path / "none.csv")
    table = tmp_path / "stimuli.csv"
    table.write_text("file\na.png\nmissing.png\n")
    with pytest.raises(ValueError, match=r"missing\.png, which is not in"):
        cp.StimulusSet.from_folder(tmp_path)
    table.write_text("name\na.png\n")
    with pytest.raises(ValueError, match="column that names the files"):
        cp.StimulusSet.from_folder(tmp_path)
    table.write_text("file,category\na.png,x\n,y\n")
    with pytest.raises(ValueError, match=r"names of files in .*stimuli\.csv are missing"):
        cp.StimulusSet.from_folder(tmp_path)
    table.write_text("file,stimulus_id\na.png,x\na.png,\n")
    with pytest.raises(ValueError, match="stimulus ids are missing in 1 places"):
        cp.StimulusSet.from_folder(tmp_path)
    table.write_text("file,stimulus_id\na.png,x\na.png,x\n")
    with pytest.raises(ValueError, match="'x' occurs more than once"):
        cp.StimulusSet.from_folder(tmp_path)


def test_damaged_images_surface_when_they_are_asked_for(tmp_path: Path) -> None:
    _save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    stimuli = cp.StimulusSet.from_folder(tmp_path)
    assert stimuli.image(0).shape == (1, 3, 6, 8)
    with pytest.raises(ImageError, match=r"b\.png"):
        stimuli.image("b")


def test_arrays_of_bytes_and_of_floats_are_the_same_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    one = cp.StimulusSet.from_arrays(pixels, ids=list("abc"))
    other = cp.StimulusSet.from_arrays(pixels.astype(np.float64) / 255, ids=list("abc"))
    torch.testing.assert_close(one.batch(range(3)), other.batch(range(3)))
    assert one.batch([2, 0]).shape == (2, 3, 5, 4)
    assert one.sha256("a") != one.sha256("b")
    assert one.sha256(0) == cp.StimulusSet.from_arrays(pixels.copy()).sha256(0)
    with pytest.raises(ValueError, match="2 ids for 3"):
        cp.StimulusSet.from_arrays(pixels, ids=["a", "b"])
    with pytest.raises(ValueError, match=r"image 0 must be \(height, width, 3\)"):
        cp.StimulusSet.from_arrays(pixels[..., 0])
    with pytest.raises(ValueError, match="at least one image"):
        cp.StimulusSet.from_arrays(pixels[:0])
    with pytest.raises(KeyError, match="'z'"):
        one.image("z")


def test_arrays_out_of_range_are_refused() -> None:
    pixels = np.random.default_rng(0).random((2, 5, 4, 3), dtype=np.float32)
    cp.StimulusSet.from_arrays(np.stack([pixels[0] - pixels[0].min(), pixels[1].round()]) + 5e-7)
    with pytest.raises(ValueError, match=r"image 1 goes from 0 to 255; .*divide .* by 255"):
        cp.StimulusSet.from_arrays([pixels[0], 255 * pixels[1].round()])
    with pytest.raises(ValueError, match="image 0 goes from -1"):
        cp.StimulusSet.from_arrays(2 * pixels.round() - 1)
    for value in (np.nan, np.inf):
        pixels[1, 2, 2, 2] = value
        with pytest.raises(ValueError, match="image 1 has values that are not finite"):
            cp.StimulusSet.from_arrays(pixels)


def test_sets_are_cut_like_arrays() -> None:
    stimuli = cp.StimulusSet.from_arrays(
        np.zeros((5, 4, 4, 3)), table=pd.DataFrame({"n": range(5)})
    )
    assert stimuli[1].ids == ["stimulus2"]
    assert stimuli[-1].ids == ["stimulus5"]
    assert stimuli[1:3].table["n"].tolist() == [1, 2]
    assert stimuli[[4, 0]].table["n"].tolist() == [4, 0]
    assert len(stimuli[stimuli.table["n"] > 2]) == 2


def test_a_batch_of_different_sizes_names_two_of_them(tmp_path: Path) -> None:
    _save(tmp_path / "a.png")
    _save(tmp_path / "b.png", size=(9, 9))
    stimuli = cp.StimulusSet.from_folder(tmp_path)
    with pytest.raises(ValueError, match="a has 6 x 8 pixels and b 9 x 9"):
        stimuli.batch([0, 1])
    assert stimuli.batch([0, 1], size=(4, 4)).shape == (2, 3, 4, 4)


def test_built_in_pictures_are_there_without_a_network(monkeypatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a built-in picture must not need a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    names = cp.list_exemplars()
    assert {"brick", "grass", "gravel", "coffee", "chelsea", "astronaut", "rocket"} <= set(names)
    assert {"hubble_deep_field", "ihc", "china", "flower"} <= set(names)
    for name in names:
        picture = cp.exemplar(name, size=32)
        assert max(picture.shape[-2:]) == 32
        assert picture.std() > 0.02
    stimuli = builtin_exemplars(["brick", "china"])
    assert stimuli.ids == ["brick", "china"]
    assert stimuli.table["category"].tolist() == ["texture", "scene"]
    with pytest.raises(ValueError, match="'bricks'; there are brick"):
        cp.exemplar("bricks")
    with pytest.raises(ValueError, match="'nothing'"):
        builtin_exemplars(["nothing"])
