"""Figures draw what the tables hold, the same way each time, and refuse what cannot be drawn."""

from __future__ import annotations

import subprocess
import sys
import threading

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist, squareform

from cnnperception import figures
from cnnperception.figures import canvas, maps, pictures, tables

ANIMALS = ["ape", "bee", "cat", "dog", "eel"]


def make_rdms(count: int = 2, names: list[str] = ANIMALS, seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    rows, columns = np.triu_indices(len(names), 1)
    ids = np.array(names)
    return xr.DataArray(
        rng.uniform(0.1, 2, (count, rows.size)),
        dims=("rdm", "pair"),
        coords={
            "rdm": [f"layer {index}" for index in range(count)],
            "stimulus_a": ("pair", ids[rows]),
            "stimulus_b": ("pair", ids[columns]),
        },
        attrs={"metric": "correlation"},
    )


def make_images(count: int, height: int = 6, width: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, height, width, generator=generator) for _ in range(count)]


def texts(figure: Figure) -> set[str]:
    figure.draw_without_rendering()
    return {text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_visible()}


def drawn_matrix(figure: Figure, axes: int = 0) -> np.ndarray:
    return np.ma.filled(figure.axes[axes].get_images()[0].get_array(), np.nan)


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_tensor_becomes_rows_of_pixels(dtype):
    image = torch.tensor([0.0, 0.5, 1.0], dtype=dtype).reshape(3, 1, 1).expand(3, 4, 5)
    pixels = figures.to_pixels(image)
    assert pixels.shape == (4, 5, 3)
    assert np.array_equal(pixels[2, 3], [0, 0.5, 1])


def test_a_tensor_three_pixels_wide_is_still_channels_first():
    image = torch.zeros(3, 2, 3)
    image[0] = 1
    assert np.array_equal(figures.to_pixels(image)[:, :, 0], np.ones((2, 3)))
    assert figures.to_pixels(image)[:, :, 1:].max() == 0


def test_bytes_and_floats_and_both_orders_of_channels_agree():
    array = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    want = array / 255
    moved = np.moveaxis(array, 2, 0)
    for given_ in (array, want, moved, moved / 255, torch.tensor(moved), torch.tensor(moved / 255)):
        assert np.array_equal(figures.to_pixels(given_), want)


def test_grey_arrays_become_rgb():
    assert np.array_equal(figures.to_pixels(np.full((2, 3), 0.25)), np.full((2, 3, 3), 0.25))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(2, 3, 4, 4), "take one image out of the batch"),
        (np.zeros((4, 5, 4)), "height, width"),
        (np.zeros((0, 5, 3)), "height, width"),
        (np.full((2, 2, 3), 128.0), r"\[0, 1\].*128"),
        (np.full((2, 2, 3), -0.1), r"-0\.1"),
        (np.full((2, 2, 3), np.nan), "nan"),
    ],
)
def test_what_is_no_picture_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        figures.to_pixels(image)


def test_a_pixel_is_as_large_in_every_picture_of_a_panel():
    small, large = torch.zeros(3, 32, 48), torch.zeros(3, 64, 64)
    figure = figures.panel([small, large], ["exemplar", "synthesis"])
    figure.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in figure.axes]
    assert boxes[0].width / 48 == pytest.approx(boxes[1].width / 64, rel=1e-2)
    assert boxes[0].height / 32 == pytest.approx(boxes[1].height / 64, rel=1e-2)
    assert boxes[0].width / 48 == pytest.approx(boxes[0].height / 32, rel=1e-2)
    assert [ax.get_title() for ax in figure.axes] == ["exemplar", "synthesis"]


def test_pictures_of_a_panel_can_be_equally_tall():
    figure = figures.panel([torch.zeros(3, 30, 60), torch.zeros(3, 90, 90)], same_scale=False)
    figure.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in figure.axes]
    assert boxes[0].height == pytest.approx(boxes[1].height, rel=1e-2)
    assert boxes[0].width == pytest.approx(2 * boxes[0].height, rel=1e-2)


def test_a_panel_shows_the_pixels_it_was_given():
    images = make_images(2)
    figure = figures.panel(images)
    for ax, image in zip(figure.axes, images, strict=True):
        assert np.array_equal(ax.get_images()[0].get_array(), figures.to_pixels(image))


def test_a_contact_sheet_places_pictures_row_by_row_the_right_way_up():
    figure = figures.contact_sheet(make_images(5), [f"image {i}" for i in range(5)], columns=3)
    (ax,) = figure.axes
    extents = np.array([image.get_extent() for image in ax.get_images()])
    centres = np.c_[extents[:, :2].mean(1), extents[:, 2:].mean(1)]
    assert np.allclose(centres[:, 0], [0.5, 1.5, 2.5, 0.5, 1.5])
    assert np.all(centres[:3, 1] == centres[0, 1])
    assert np.all(centres[3:, 1] > centres[0, 1])
    assert ax.yaxis_inverted()
    assert np.all(extents[:, 2] > extents[:, 3])
    wide, tall = extents[:, 1] - extents[:, 0], extents[:, 2] - extents[:, 3]
    assert np.allclose(wide / tall, 8 / 6)
    assert {f"image {i}" for i in range(5)} <= texts(figure)


@pytest.mark.parametrize("draw", [figures.panel, figures.contact_sheet])
def test_no_pictures_or_too_few_titles_are_refused(draw):
    with pytest.raises(ValueError, match="no picture"):
        draw([])
    with pytest.raises(ValueError, match="1 .* for 2 pictures"):
        draw(make_images(2), ["one"])


@given(st.text(max_size=40), st.integers(4, 30))
def test_shortened_names_fit_and_keep_their_end(text, length):
    short = pictures.shorten(text, length)
    assert len(short) == min(len(text), length)
    assert short[-2:] == text[-2:]
    assert short == text or "…" in short


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=40))
def test_wrapped_labels_fit_and_lose_nothing(text):
    lines = pictures.wrap(text, 9).split("\n")
    assert all(len(line) <= 9 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_labels_are_broken_after_their_separators_and_make_rows_taller():
    assert pictures.wrap("brick_self-supervised_both_0", 16) == "brick_self-\nsupervised_both_\n0"
    assert pictures.wrap("short", 16) == "short"
    assert pictures.wrap("x" * 20, 16) == "x" * 16 + "\n" + "xxxx"
    heights = [
        figures.contact_sheet(make_images(2), [label, "b"], columns=1).axes[0].get_ylim()[0]
        for label in ("a", "a" * 60)
    ]
    assert heights[1] > heights[0]


# --- RDMs ---------------------------------------------------------------------------------------


def test_heatmaps_show_the_dissimilarities_of_each_rdm():
    rdms = make_rdms(3)
    figure = figures.rdm_heatmaps(rdms, scale="shared")
    assert len(figure.axes) == 3 + 1
    for index in range(3):
        drawn = drawn_matrix(figure, index)
        assert np.isnan(np.diag(drawn)).all()
        assert np.array_equal(np.nan_to_num(drawn), squareform(rdms.values[index]))
        assert figure.axes[index].get_title() == f"layer {index}"
    limits = {figure.axes[index].get_images()[0].get_clim() for index in range(3)}
    assert limits == {(rdms.values.min(), rdms.values.max())}
    assert "dissimilarity (correlation)" in texts(figure)


def test_each_rdm_can_have_a_scale_of_its_own():
    rdms = make_rdms(2)
    figure = figures.rdm_heatmaps(rdms, scale="own")
    assert len(figure.axes) == 2 + 2
    for index in range(2):
        values = rdms.values[index]
        assert figure.axes[index].get_images()[0].get_clim() == (values.min(), values.max())


def test_percentiles_are_ranks_from_0_to_100_with_ties_averaged():
    rdm = make_rdms(1, ["a", "b", "c", "d"])[0].copy(data=[5.0, 1.0, 1.0, 7.0, 9.0, 8.0])
    figure = figures.rdm_heatmaps(rdm)
    drawn = drawn_matrix(figure)[np.triu_indices(4, 1)]
    assert np.allclose(drawn, [40, 10, 10, 60, 100, 80])
    assert figure.axes[0].get_images()[0].get_clim() == (0, 100)
    assert "percentile of dissimilarity" in texts(figure)


def test_the_order_moves_rows_columns_names_categories_and_thumbnails_together():
    rdms = make_rdms(1)
    order = ["dog", "ape", "eel", "cat", "bee"]
    groups = {"ape": "warm", "bee": "cold", "cat": "warm", "dog": "warm", "eel": "cold"}
    figure = figures.rdm_heatmaps(rdms, groups, order, scale="shared")
    matrix = pd.DataFrame(squareform(rdms.values[0]), ANIMALS, ANIMALS)
    assert np.array_equal(np.nan_to_num(drawn_matrix(figure)), matrix.loc[order, order])
    (ax, _) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == order
    bar = np.asarray(ax.get_images()[1].get_array())[:, 0]
    legend = {
        text.get_text(): to_rgb(patch.get_facecolor())
        for text, patch in zip(
            figure.legends[0].get_texts(), figure.legends[0].get_patches(), strict=True
        )
    }
    assert [tuple(colour) for colour in bar] == [legend[groups[name]] for name in order]

    images = make_images(5)
    figure = figures.rdm_heatmaps(rdms, order=order, thumbnails=images)
    first_picture = np.asarray(figure.axes[0].get_images()[1].get_array())
    assert np.array_equal(first_picture, figures.to_pixels(images[ANIMALS.index("dog")]))


@pytest.mark.parametrize("count", [3, 25, 92])
def test_category_bars_and_thumbnails_lie_beside_the_matrix_at_their_stimuli(count):
    names = [f"s{index:03d}" for index in range(count)]
    groups = ["even", "odd"] * count
    figure = figures.rdm_heatmaps(
        make_rdms(1, names), groups[:count], thumbnails=make_images(count, 4, 4)
    )
    ax = figure.axes[0]
    _, left_bar, lower_bar, *rest = ax.get_images()
    for x0, x1, y0, y1 in (image.get_extent() for image in (left_bar, lower_bar, *rest)):
        beside = max(x0, x1) <= -0.5 or min(y0, y1) >= count - 0.5
        assert beside
    assert len(rest) == 2 * count
    for index in range(count):
        x0, x1, y0, y1 = rest[2 * index].get_extent()
        assert (y0 + y1) / 2 == pytest.approx(index)
        x0, x1, y0, y1 = rest[2 * index + 1].get_extent()
        assert (x0 + x1) / 2 == pytest.approx(index)
    boxes = [image.get_extent() for image in rest[::2]]
    for one, (x0, x1, y1, y0) in enumerate(boxes):
        for a0, a1, b1, b0 in boxes[:one]:
            assert a1 <= x0 or x1 <= a0 or b1 <= y0 or y1 <= b0, "two thumbnails overlap"


def test_missing_pairs_are_counted_in_the_title():
    rdms = make_rdms(2)
    rdms.values[1, [0, 3]] = np.nan
    figure = figures.rdm_heatmaps(rdms)
    titles = [ax.get_title() for ax in figure.axes[:2]]
    assert titles == ["layer 0", "layer 1\n2 pairs missing (grey)"]
    assert np.isnan(drawn_matrix(figure, 1)[0, 1])
    assert np.nanmax(drawn_matrix(figure, 1)) == 100


@pytest.mark.parametrize("first", [0, 7])
def test_the_column_of_a_table_gives_categories_in_order(first):
    column = pd.DataFrame({"category": list("xxyyz")}, index=range(first, first + 5))["category"]
    assert tables.category_list(column, ANIMALS) == list("xxyyz")
    with pytest.raises(ValueError, match="5 categories for 4 stimuli"):
        tables.category_list(column, ANIMALS[:4])


def test_a_series_gives_categories_by_id_where_its_index_holds_the_ids():
    by_name = pd.Series(list("zyyxx"), index=ANIMALS[::-1])
    assert tables.category_list(by_name, ANIMALS) == list("xxyyz")
    assert tables.category_list(pd.Series(list("xyz")), [2, 0]) == ["z", "x"]
    with pytest.raises(ValueError, match="1 stimuli have no category, 'ape'"):
        tables.category_list(by_name.drop("ape"), ANIMALS)


def test_categories_in_a_data_array_are_taken_in_order_as_plain_values():
    labels = xr.DataArray(list("xxyyz"), dims="stimulus")
    assert tables.category_list(labels, ANIMALS) == list("xxyyz")
    assert {"x", "y", "z"} <= texts(figures.rdm_heatmaps(make_rdms(1), labels))


def test_one_rdm_without_names_can_be_drawn():
    figure = figures.rdm_heatmaps(xr.DataArray([0.1, 0.2, 0.3], dims="pair"))
    assert figure.axes[0].get_title() == ""
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0", "1", "2"]


def test_an_empty_place_in_the_grid_has_no_axes():
    figure = figures.rdm_heatmaps(make_rdms(5), columns=3)
    assert len(figure.axes) == 5 + 1


def bad_rdm(fault: str) -> xr.DataArray:
    rdms = make_rdms(2)
    if fault == "pair count":
        return rdms[:, :-1]
    if fault == "empty":
        return rdms[:0]
    if fault == "dims":
        return rdms.rename(pair="couple")
    if fault == "all missing":
        return rdms.where(rdms["rdm"] != "layer 1")
    if fault == "infinite":
        return rdms.where(rdms != rdms.max(), np.inf)
    return rdms[:, ::-1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("pair count", r"9 is no such number"),
        ("empty", "no RDM"),
        ("dims", "couple"),
        ("all missing", "layer 1"),
        ("infinite", "infinite"),
        ("order of pairs", "row by row"),
    ],
)
def test_malformed_rdms_are_refused(fault, message):
    with pytest.raises(ValueError, match=message):
        figures.rdm_heatmaps(bad_rdm(fault))


def test_an_array_that_is_no_dataarray_is_refused():
    with pytest.raises(TypeError, match="ndarray"):
        figures.rdm_heatmaps(make_rdms().values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categories": {"ape": "x"}}, "4 stimuli have no category, 'bee'"),
        ({"categories": ["x", "y"]}, "2 categories for 5 stimuli"),
        ({"order": ANIMALS[:4]}, "each of the 5 stimuli once"),
        ({"order": [*ANIMALS[:4], "ape"]}, "each of the 5 stimuli once"),
        ({"order": [*ANIMALS[:4], "yak"]}, "'yak' is none of them"),
        ({"thumbnails": [np.zeros((2, 2, 3))]}, "1 thumbnails for 5 stimuli"),
        ({"scale": "ranks"}, "'ranks'"),
        ({"columns": 0}, "at least one column"),
    ],
)
def test_what_does_not_fit_the_rdms_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        figures.rdm_heatmaps(make_rdms(), **options)


@given(st.integers(2, 60))
def test_a_square_matrix_has_as_many_stimuli_as_its_triangle_says(count):
    pairs = count * (count - 1) // 2
    assert tables.stimulus_count(pairs) == count
    matrix = tables.square(np.arange(pairs, dtype=float))
    assert np.array_equal(np.nan_to_num(matrix), squareform(np.arange(pairs)))


# --- maps ---------------------------------------------------------------------------------------


def flat_rdm(count: int = 12, seed: int = 3) -> tuple[xr.DataArray, np.ndarray]:
    places = np.random.default_rng(seed).normal(size=(count, 2))
    rdm = make_rdms(1, [f"s{index:02d}" for index in range(count)])[0]
    return rdm.copy(data=pdist(places)), places


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 20))
def test_stimuli_that_lie_in_a_plane_are_mapped_without_stress(seed, count):
    rdm, _ = flat_rdm(count, seed)
    places, stress = maps.scale(rdm.values)
    assert stress < 1e-3
    assert np.allclose(pdist(places), rdm.values, atol=1e-2 * rdm.values.max())


def test_stress_is_no_worse_than_the_best_of_many_random_starts():
    from sklearn.manifold import smacof

    wanted = make_rdms(1, [f"s{index:02d}" for index in range(15)]).values[0]
    _, stress = maps.scale(wanted)
    _, raw = smacof(
        squareform(wanted),
        n_init=16,
        max_iter=1000,
        eps=1e-9,
        random_state=0,
        normalized_stress=False,
    )
    # At a minimum over scale too, the sum of squared distances is that of dissimilarities less
    # the raw stress, from which Kruskal's stress follows.
    best = np.sqrt(raw / ((wanted**2).sum() - raw))
    assert stress < 1.15 * best


def test_stress_is_kruskals():
    wanted = make_rdms(1).values[0]
    places, stress = maps.scale(wanted)
    distances = [np.hypot(*(places[i] - places[j])) for i in range(5) for j in range(i + 1, 5)]
    top = sum((d - w) ** 2 for d, w in zip(distances, wanted, strict=True))
    assert stress == pytest.approx((top / sum(d**2 for d in distances)) ** 0.5)


def test_a_map_is_widest_along_x_and_the_same_each_time():
    rdm, _ = flat_rdm()
    first, second = maps.scale(rdm.values)[0], maps.scale(rdm.values)[0]
    assert np.array_equal(first, second)
    assert first[:, 0].var() >= first[:, 1].var()
    assert np.allclose(first.mean(axis=0), 0)


def test_classical_scaling_equals_principal_components_of_the_points():
    rdm, places = flat_rdm()
    centred = places - places.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    found = maps.classical_scaling(squareform(rdm.values))
    assert np.allclose(np.abs(found), np.abs(left * sizes))


@pytest.mark.parametrize("draw", [figures.mds_map, figures.tsne_map])
def test_maps_place_each_thumbnail_upright_in_its_categorys_frame(draw):
    rdm, _ = flat_rdm()
    images = make_images(12)
    groups = ["a", "b", "c"] * 4
    figure = draw(rdm, images, groups)
    (ax,) = figure.axes
    assert len(ax.get_images()) == 12
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    frames = [patch.get_edgecolor() for patch in ax.patches]
    assert len(set(frames)) == 3
    assert frames[0] == frames[3] != frames[1]
    for drawn, image in zip(ax.get_images(), images, strict=True):
        x0, x1, y0, y1 = drawn.get_extent()
        assert x0 < x1
        assert y0 < y1
        assert np.array_equal(drawn.get_array(), figures.to_pixels(image))
    x, y = np.array(ax.get_xlim()), np.array(ax.get_ylim())
    for x0, x1, y0, y1 in (drawn.get_extent() for drawn in ax.get_images()):
        assert x[0] <= x0
        assert x1 <= x[1]
        assert y[0] <= y0
        assert y1 <= y[1]


def test_a_map_without_thumbnails_has_a_point_where_scaling_puts_each_stimulus():
    rdm, _ = flat_rdm()
    figure = figures.mds_map(rdm)
    points = figure.axes[0].collections[0].get_offsets()
    places, stress = maps.scale(rdm.values)
    assert np.array_equal(np.asarray(points), places)
    assert figure.axes[0].get_title() == f"layer 0\nMDS, stress {stress:.2f}"


def test_tsne_keeps_two_far_clusters_apart():
    rng = np.random.default_rng(0)
    points = np.r_[rng.normal(0, 1, (15, 5)), rng.normal(20, 1, (15, 5))]
    rdm = make_rdms(1, [f"s{index:02d}" for index in range(30)])[0].copy(data=pdist(points))
    figure = figures.tsne_map(rdm, perplexity=5)
    places = np.asarray(figure.axes[0].collections[0].get_offsets())
    distances = squareform(pdist(places))
    nearest = (distances + np.eye(30) * 1e9).argmin(axis=1)
    assert np.array_equal(nearest // 15, np.arange(30) // 15)
    again = figures.tsne_map(rdm, perplexity=5).axes[0].collections[0].get_offsets()
    assert np.array_equal(places, again)
    assert "perplexity 5" in figure.axes[0].get_title()


def test_a_shepard_plot_shows_each_pairs_dissimilarity_and_distance():
    rdm = make_rdms(1)[0]
    figure = figures.shepard_plot(rdm)
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert np.array_equal(points[:, 0], rdm.values)
    assert np.array_equal(points[:, 1], pdist(maps.scale(rdm.values)[0]))
    assert "stress" in figure.axes[0].get_title()


def test_negative_dissimilarities_count_as_zero_on_a_map():
    wanted = make_rdms(1).values[0]
    wanted[2] = -0.1
    clipped = wanted.clip(min=0)
    assert np.array_equal(maps.scale(wanted)[0], maps.scale(clipped)[0])
    assert maps.scale(wanted)[1] == maps.scale(clipped)[1]


@pytest.mark.parametrize("draw", [figures.mds_map, figures.tsne_map, figures.shepard_plot])
def test_maps_refuse_what_they_cannot_place(draw):
    with pytest.raises(ValueError, match="shows one RDM, not 2"):
        draw(make_rdms(2))
    with pytest.raises(ValueError, match="at least three stimuli, not 2"):
        draw(make_rdms(1, ["a", "b"]))
    holed = make_rdms(1)
    holed.values[0, 5] = np.nan
    with pytest.raises(ValueError, match="'bee' with 'dog'"):
        draw(holed)


def test_maps_refuse_dissimilarities_that_are_all_zero_and_odd_perplexities():
    with pytest.raises(ValueError, match="all dissimilarities are zero"):
        figures.mds_map(make_rdms(1) * 0)
    for perplexity in (0, 5, 40):
        with pytest.raises(ValueError, match="between 0 and the number of stimuli, 5"):
            figures.tsne_map(make_rdms(1), perplexity=perplexity)
    with pytest.raises(ValueError, match="3 thumbnails for 5 stimuli"):
        figures.mds_map(make_rdms(1), make_images(3))


# --- matrices -----------------------------------------------------------------------------------


def layer_table() -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(
        [("hmax", "c1"), ("hmax", "c2"), ("vgg19", "pool1"), ("vgg19", "pool4"), ("vgg19", "fc6")]
    )
    values = np.corrcoef(np.random.default_rng(0).normal(size=(5, 9)))
    return pd.DataFrame(values, index, index)


def test_a_similarity_matrix_shows_and_writes_its_values():
    table = layer_table()
    figure = figures.similarity_matrix(table, label="CKA")
    ax, bar = figure.axes
    assert np.array_equal(np.asarray(ax.collections[0].get_array()).reshape(5, 5), table)
    written = [text.get_text() for text in ax.texts[:25]]
    assert written == [f"{value:.2f}" for value in table.to_numpy().ravel()]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "c1", "c2", "pool1", "pool4", "fc6",
    ]  # fmt: skip
    assert bar.get_ylabel() == "CKA"


def test_a_line_parts_the_models_which_are_named_once_on_each_side():
    ax = figures.similarity_matrix(layer_table()).axes[0]
    assert [list(line.get_xdata()) for line in ax.lines] == [[2, 2], [0, 1]]
    names = [text.get_text() for text in ax.texts[25:]]
    assert names == ["hmax", "vgg19", "hmax", "vgg19"]


def test_the_colours_start_at_zero_unless_a_similarity_is_negative():
    positive = pd.DataFrame([[1, 0.4], [0.4, 1]])
    assert figures.similarity_matrix(positive).axes[0].collections[0].get_clim() == (0, 1)
    negative = pd.DataFrame([[1, -0.4], [-0.4, 1]])
    assert figures.similarity_matrix(negative).axes[0].collections[0].get_clim() == (-0.4, 1)


def test_a_data_array_is_drawn_as_the_same_data_frame():
    frame = pd.DataFrame(np.eye(3)[:2], ["a", "b"], ["x", "y", "z"])
    array = xr.DataArray(frame.values, coords={"model": ["a", "b"], "layer": ["x", "y", "z"]})
    drawn = [texts(figures.similarity_matrix(table)) for table in (frame, array)]
    assert drawn[0] == drawn[1]
    unnamed = figures.similarity_matrix(xr.DataArray(np.eye(2), dims=("model", "layer")))
    assert {"0", "1"} <= texts(unnamed)


def test_large_matrices_are_drawn_without_numbers():
    ax = figures.similarity_matrix(pd.DataFrame(np.eye(40))).axes[0]
    assert not ax.texts
    assert len(ax.get_yticklabels()) == 40


def test_similarities_that_cannot_be_drawn_are_refused():
    holed = pd.DataFrame([[1, np.nan], [0.2, 1]], ["a", "b"], ["a", "b"])
    with pytest.raises(ValueError, match="the first of 'a' with 'b'"):
        figures.similarity_matrix(holed)
    with pytest.raises(ValueError, match="no cells"):
        figures.similarity_matrix(pd.DataFrame())
    with pytest.raises(ValueError, match="two dimensions"):
        figures.similarity_matrix(xr.DataArray(np.zeros(3), dims="layer"))
    with pytest.raises(TypeError, match="list"):
        figures.similarity_matrix([[1.0]])  # type: ignore[arg-type]


# --- curves -------------------------------------------------------------------------------------


def loss_table(images: int = 1) -> pd.DataFrame:
    rows = [
        (evaluation, int(evaluation >= 4), image, term, 10.0 ** -(evaluation + place + image))
        for evaluation in range(7)
        for image in range(images)
        for place, term in enumerate(["texture/pool1", "texture/pool4"])
    ]
    return pd.DataFrame(rows, columns=["evaluation", "level", "image", "term", "loss"])


def test_loss_curves_draw_each_term_over_each_level_on_a_logarithmic_scale():
    table = loss_table()
    figure = figures.loss_curves(table)
    (ax,) = figure.axes
    assert ax.get_yscale() == "log"
    lines = {}
    for line in ax.lines:
        if line.get_label().startswith("texture"):
            x, y = line.get_data()
            lines.setdefault(line.get_label(), []).append((list(x), list(y)))
    for term, parts in lines.items():
        rows = table[table["term"] == term]
        assert [x for x, _ in parts] == [[0, 1, 2, 3], [4, 5, 6]]
        assert np.allclose(np.concatenate([y for _, y in parts]), rows["loss"])
    assert list(lines) == ["texture/pool1", "texture/pool4"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(lines)
    assert {"level 0", "level 1", "evaluation", "loss"} <= texts(figure)


def test_levels_are_named_by_their_size_where_it_is_known():
    table = loss_table().assign(height=lambda t: 32 * (t["level"] + 1), width=48)
    assert {"32 × 48", "64 × 48"} <= texts(figures.loss_curves(table))


def test_several_images_are_averaged_geometrically():
    figure = figures.loss_curves(loss_table(images=3))
    first = figure.axes[0].lines[0]
    assert np.allclose(first.get_ydata(), [1e-1, 1e-2, 1e-3, 1e-4])


def test_a_loss_of_zero_leaves_a_gap():
    table = loss_table()
    table.loc[0, "loss"] = 0.0
    assert np.isnan(figures.loss_curves(table).axes[0].lines[0].get_ydata()[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="term"), "no column 'term'.*evaluation, level, image, loss"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(loss=np.nan), "evaluation 0, term texture/pool1"),
        (lambda t: t.assign(loss=-t["loss"]), "none may be negative"),
        (lambda t: t.assign(loss=0.0), "every loss is zero"),
    ],
)
def test_losses_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        figures.loss_curves(change(loss_table()))


def profile_table() -> pd.DataFrame:
    rows = [
        (model, layer, 0.1 * place + 0.05 * len(model))
        for model, layers in [
            ("hmax", ["s1", "c1", "c2"]),
            ("vgg19", ["pool1", "pool2"]),
            ("vgg19 random", ["pool1", "pool2"]),
        ]
        for place, layer in enumerate(layers)
    ]
    table = pd.DataFrame(rows, columns=["model", "layer", "similarity"])
    return table.assign(lower=table["similarity"] - 0.1, upper=table["similarity"] + 0.2)


def test_models_with_the_same_layers_share_a_panel_of_a_layer_profile():
    table = profile_table()
    figure = figures.layer_profile(table, label="Spearman")
    assert [len(ax.lines) for ax in figure.axes] == [1, 2]
    assert figure.axes[0].get_ylabel() == "Spearman"
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    ticks = [[label.get_text() for label in ax.get_xticklabels()] for ax in figure.axes]
    assert ticks == [["s1", "c1", "c2"], ["pool1", "pool2"]]
    lines = [line for ax in figure.axes for line in ax.lines]
    for line in lines:
        rows = table[table["model"] == line.get_label()]
        assert np.array_equal(line.get_ydata(), rows["similarity"])
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 3


def test_the_band_of_a_layer_profile_lies_between_lower_and_upper():
    table = profile_table()
    ax = figures.layer_profile(table).axes[0]
    band = ax.collections[0].get_paths()[0].vertices
    rows = table[table["model"] == "hmax"]
    assert band[:, 1].min() == rows["lower"].min()
    assert band[:, 1].max() == rows["upper"].max()
    without = figures.layer_profile(table.drop(columns=["lower", "upper"]))
    assert not without.axes[0].collections


def test_the_noise_ceiling_is_a_band_in_every_panel_and_in_the_legend():
    figure = figures.layer_profile(profile_table(), ceiling=(0.6, 0.7))
    for ax in figure.axes:
        box = ax.patches[0].get_window_extent().transformed(ax.transData.inverted())
        assert box.y0 == pytest.approx(0.6)
        assert box.y1 == pytest.approx(0.7)
    assert "noise ceiling" in texts(figure)


@pytest.mark.parametrize(
    ("change", "ceiling", "message"),
    [
        (lambda t: t.drop(columns="layer"), None, "no column 'layer'"),
        (lambda t: t.iloc[:0], None, "no rows"),
        (lambda t: t.drop(columns="lower"), None, "'upper' alone"),
        (lambda t: t.assign(upper=np.inf), None, "'upper'.*model hmax, layer s1"),
        (lambda t: pd.concat([t, t.iloc[:1]]), None, "'s1' of model 'hmax'"),
        (lambda t: t, (0.7, 0.6), "lower, upper"),
    ],
)
def test_profiles_that_cannot_be_drawn_are_refused(change, ceiling, message):
    with pytest.raises(ValueError, match=message):
        figures.layer_profile(change(profile_table()), ceiling)


# --- results ------------------------------------------------------------------------------------


def result_table() -> xr.Dataset:
    models = ["hmax", "vgg19", "pixels"]
    pairs = np.array([[np.nan, 0.01, 0.2], [0.01, np.nan, 0.001], [0.2, 0.001, np.nan]])
    return xr.Dataset(
        {
            "similarity": ("model", [0.2, 0.4, 0.1]),
            "lower": ("model", [0.1, 0.3, -0.1]),
            "upper": ("model", [0.3, 0.5, 0.3]),
            "ceiling_lower": 0.45,
            "ceiling_upper": 0.6,
            "p_zero": ("model", [0.01, 0.001, 0.3]),
            "p_ceiling": ("model", [0.001, 0.2, np.nan]),
            "p_pairs": (("model", "other_model"), pairs),
        },
        coords={"model": models, "other_model": models},
    )


def marked(ax: mpl.axes.Axes, marker: str) -> list[list[float]]:
    return [
        [list(line.get_xdata()), list(line.get_ydata())]
        for line in ax.lines
        if line.get_marker() == marker
    ]


def test_results_show_bars_intervals_and_ceiling_best_model_first():
    figure = figures.model_results(result_table(), label="Spearman")
    _, ax = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["vgg19", "hmax", "pixels"]
    assert [bar.get_height() for bar in ax.containers[0]] == [0.4, 0.2, 0.1]
    intervals = [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()]
    assert intervals == [[0.3, 0.5], [0.1, 0.3], [-0.1, 0.3]]
    band = ax.patches[-1].get_window_extent().transformed(ax.transData.inverted())
    assert (band.y0, band.y1) == (pytest.approx(0.45), pytest.approx(0.6))
    assert ax.get_ylabel() == "Spearman"


def test_results_mark_the_significant_tests_and_no_others():
    figure = figures.model_results(result_table())
    above, ax = figure.axes
    assert marked(ax, "*") == [[[0, 1], [0, 0]]]
    assert marked(ax, "v") == [[[1], [0.45]]]
    # vgg19 beats hmax and pixels; hmax beats nobody for sure.
    assert [place for place, _ in marked(above, "o")] == [[0]]
    (icicles,) = above.collections
    assert [segment[0, 0] for segment in icicles.get_segments()] == [1, 2]
    strict = figures.model_results(result_table(), alpha=0.005)
    (icicles,) = strict.axes[0].collections
    assert [segment[0, 0] for segment in icicles.get_segments()] == [2]
    assert len(figures.model_results(result_table(), alpha=1e-6).axes) == 1


def test_a_model_significantly_below_zero_has_no_star():
    table = result_table().assign(similarity=("model", [0.2, -0.4, 0.1]))
    figure = figures.model_results(table)
    assert marked(figure.axes[-1], "*") == [[[0], [0]]]


def test_results_can_keep_their_order_and_be_coloured_by_group():
    groups = {"hmax": "classic", "pixels": "classic", "vgg19": "deep"}
    figure = figures.model_results(result_table(), groups, sort=False)
    above, ax = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["hmax", "vgg19", "pixels"]
    bars = [bar.get_facecolor() for bar in ax.containers[0]]
    assert bars[0] == bars[2] != bars[1]
    assert [place for place, _ in marked(above, "o")] == [[1]]
    sorted_bars = figures.model_results(result_table(), groups).axes[1].containers[0]
    by_name = dict(zip(["vgg19", "hmax", "pixels"], sorted_bars, strict=True))
    assert by_name["hmax"].get_facecolor() == by_name["pixels"].get_facecolor()
    assert {"classic", "deep"} <= texts(figure)


def test_results_without_tests_are_bars_alone():
    figure = figures.model_results(result_table()[["similarity"]])
    (ax,) = figure.axes
    assert len(ax.containers[0]) == 3
    assert not figure.legends


def test_results_that_cannot_be_drawn_are_refused():
    table = result_table()
    with pytest.raises(ValueError, match="'similarity'.*these hold lower"):
        figures.model_results(table.drop_vars("similarity"))
    with pytest.raises(ValueError, match="no model"):
        figures.model_results(table.isel(model=[]))
    with pytest.raises(ValueError, match="1 models is not finite, pixels"):
        figures.model_results(table.where(table["similarity"] > 0.15))
    with pytest.raises(ValueError, match="'pixels'"):
        figures.model_results(table, {"hmax": "a", "vgg19": "b"})


# --- all figures --------------------------------------------------------------------------------

DRAWN = {
    "rdm_heatmaps": lambda: figures.rdm_heatmaps(
        make_rdms(2), list("xxyyz"), thumbnails=make_images(5)
    ),
    "mds_map": lambda: figures.mds_map(make_rdms(1), make_images(5), list("xxyyz")),
    "tsne_map": lambda: figures.tsne_map(make_rdms(1)),
    "shepard_plot": lambda: figures.shepard_plot(make_rdms(1)),
    "similarity_matrix": lambda: figures.similarity_matrix(layer_table()),
    "loss_curves": lambda: figures.loss_curves(loss_table()),
    "model_results": lambda: figures.model_results(result_table()),
    "layer_profile": lambda: figures.layer_profile(profile_table(), (0.5, 0.6)),
    "panel": lambda: figures.panel(make_images(2), ["a", "b"]),
    "contact_sheet": lambda: figures.contact_sheet(make_images(4), list("abcd")),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_saved_as_the_same_bytes_at_every_run(name, tmp_path):
    first = figures.save(DRAWN[name](), tmp_path / "first", dpi=60)
    second = figures.save(DRAWN[name](), tmp_path / "second.png", dpi=60)
    assert [path.name for path in first] == ["first.png", "first.pdf"]
    assert [path.name for path in second] == ["second.png", "second.pdf"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"CreationDate" not in first[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.pdf", "first.png", "second.pdf", "second.png",
    ]  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_of_a_figure_is_cut_off(name):
    figure = DRAWN[name]()
    figure.draw_without_rendering()
    tight = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert tight.x0 >= -0.01
    assert tight.y0 >= -0.01
    assert tight.x1 <= width + 0.01
    assert tight.y1 <= height + 0.01


def test_fonts_are_embedded_as_truetype(tmp_path):
    _, pdf = figures.save(DRAWN["layer_profile"](), tmp_path / "profile")
    assert b"/Type3" not in pdf.read_bytes()
    assert b"/FontFile2" in pdf.read_bytes()


def test_a_name_with_dots_keeps_them(tmp_path):
    png, _ = figures.save(DRAWN["panel"](), tmp_path / "layer4.1.conv2", dpi=40)
    assert png.name == "layer4.1.conv2.png"


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path):
    png, pdf = figures.save(DRAWN["panel"](), tmp_path / "old", dpi=40)
    before = png.read_bytes(), pdf.read_bytes()

    class Broken(Figure):
        def savefig(self, *args, **kwargs):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        figures.save(Broken(), tmp_path / "old")
    assert (png.read_bytes(), pdf.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were():
    before = dict(mpl.rcParams)
    threads = [threading.Thread(target=draw) for draw in list(DRAWN.values())[-4:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(mpl.rcParams) == before


def test_drawing_opens_no_pyplot_figure_and_chooses_no_backend():
    script = """
import sys, numpy as np, pandas as pd, matplotlib, xarray as xr
from cnnperception import figures
backend = dict.__getitem__(matplotlib.rcParams, "backend")
rdm = xr.DataArray([[1., 2, 3]], dims=("rdm", "pair"))
figures.rdm_heatmaps(rdm); figures.mds_map(rdm)
figures.similarity_matrix(pd.DataFrame(np.eye(3)))
figures.panel([np.zeros((4, 4, 3))])
import matplotlib.pyplot as plt
assert plt.get_fignums() == []
assert "torch" not in sys.modules, "figures need no torch"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@given(st.integers(1, 45))
def test_things_have_as_many_different_colours(count):
    found = canvas.colours(count)
    assert len(set(found)) == count
    assert all(0 <= value <= 1 for colour in found for value in colour)
