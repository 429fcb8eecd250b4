"""Named presets: what papers did, as data, and the engine's own `default`.

A name that ends in -fast has the loss of a paper, and not its search.

Each number is from the paper or, where that is silent, from the code its authors published; what
is otherwise here, and why, is in the preset's `notes`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types

import pandas as pd
from torch import Tensor

from .. import images as image_files
from .optimisers import ScipyLBFGSB, TorchLBFGS
from .procedure import NetworkChoice, Procedure, Stages
from .published import REDRAWN, Loss, Noise

DEFAULT = "default"
TASKS = ("texture", "style")
POOLS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
FIRST_CONVOLUTIONS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
FOUR_BLOCKS = tuple(
    f"conv{block}_{number}"
    for block, count in enumerate((2, 2, 4, 4), 1)
    for number in range(1, count + 1)
)
NO_CAFFE = (
    "The network has the weights that torchvision publishes unless those of the paper, from Caffe, "
    "are given: cnnperception.synthesis.presets.named(NAME).network.load(weights=FILE) as the "
    "model, or --weights FILE. torchvision's were trained anew, and want other pixels."
)
OTHER_SCALE = (
    "Its numbers are for responses as large as grey levels. Other networks than Caffe's, "
    "torchvision's normalised, get those that the authors have for their normalised network: 1e9 / "
    "5 a style layer and 1e6 for content, in BasicStyleTransfer.ipynb of NeuralImageSynthesis."
)
OWN_NORMALISATION = (
    "The network is normalised over the 12 pictures that the package ships; the paper's was over "
    "images of ImageNet."
)
NOT_ROUNDED = "Between sizes the picture is clipped to [0, 1]; the code also rounds it to 8 bits."
BLIND_STEPS = (
    "The search takes steps without looking where they lead. With networks that are not trained it "
    "can stay near its start for long, or take one step far too wide; another model, or the preset "
    "'default', is then of more use."
)
ONE_SIZE = Stages(((1.0, 1.0),))
VGG = types.MappingProxyType({"pooling": "avg"})
NORMALISED_VGG = NetworkChoice(
    "vgg19", VGG, "vgg19 (Caffe's weights, normalised, avg pooling)", normalised="trained"
)
PLAIN_VGG = NetworkChoice(
    "vgg19", VGG, "vgg19 (Caffe's weights, avg pooling)", normalised="substitutes"
)

GATYS2015 = Procedure(
    name="gatys2015",
    task="texture",
    paper="Gatys, Ecker & Bethge (2015), Texture synthesis using convolutional neural networks, "
    "NeurIPS; code: leongatys/DeepTextures",
    network=NORMALISED_VGG,
    layers=POOLS,  # 176,640 numbers in their Gram matrices
    statistic="gram",
    loss=Loss("4 N^2", 1e9),  # LossFunctions.py: weight / 4 / N^2, weight 1e9 each
    evaluations=2000,  # Example.ipynb: maxiter
    # Example.ipynb: maxcor, ftol, gtol; the budget is one of iterations.
    optimiser=ScipyLBFGSB(history=20, loss_tolerance=0.0, gradient_tolerance=0.0),
    bounds="shared",  # Misc.get_bounds
    noise=Noise("training mean", 1.0),  # ImageSyn.py: randn on pixels less the mean
    pixels=256,  # Example.ipynb: im_size 256., so many pixels in all
    stages=ONE_SIZE,
    fitting_layers=False,
    range_weight=0.0,
    notes=(
        "evaluations are iterations of L-BFGS-B here, which take one evaluation or a few more.",
        NO_CAFFE,
        OWN_NORMALISATION,
        "The code gives the finished picture the exemplar's histogram, of 100 bins; the paper's "
        "figures do not have it. histogram=True does, with the exemplar's values themselves.",
    ),
)
GATYS2016 = Procedure(
    name="gatys2016",
    task="style",
    paper="Gatys, Ecker & Bethge (2016), Image style transfer using convolutional neural "
    "networks, CVPR; code: leongatys/PytorchNeuralStyleTransfer",
    network=PLAIN_VGG,
    style_layers=FIRST_CONVOLUTIONS,
    content_layers=("conv4_2",),
    statistic="gram",
    loss=Loss("N^4", 1e3),  # notebook: 1e3 / N^2 times the mean over N^2 entries
    content_weight=1.0,  # notebook: content_weights
    content_divisor="size",  # notebook: MSELoss
    # NeuralImageSynthesis, BasicStyleTransfer.ipynb, for the normalised network: 1e9 / 5 times
    # the mean over N^2 entries, and 1e6
    elsewhere=types.MappingProxyType({"loss": Loss("N^2", 2e8), "content_weight": 1e6}),
    start="content",
    evaluations=520,  # notebook: calls of 20 until more than 500
    optimiser=TorchLBFGS(),  # notebook: the defaults of optim.LBFGS
    noise=Noise("training mean", 1.0),  # notebook, commented out: randn
    pixels=512,  # notebook: Scale(512), of content and style
    measured="shorter side",
    style_size="shorter side",
    stages=ONE_SIZE,
    fitting_layers=False,
    range_weight=0.0,
    notes=(
        "Numbers are the notebook's, and so is the network, which is not normalised as the paper's "
        "was. Its class pools by maximum unless told otherwise; here it averages, as the paper "
        "does: model=load_model('vgg19', weights=FILE, pooling='max') is the notebook's.",
        NO_CAFFE,
        OTHER_SCALE,
        BLIND_STEPS,
        "520 evaluations are 26 calls of 20: the notebook calls until there were more than 500.",
        "The picture is the one last evaluated; the notebook's has one step more.",
    ),
)
GATYS2017_HR = dataclasses.replace(
    GATYS2016,
    name="gatys2017-hr",
    paper="Gatys, Ecker, Bethge, Hertzmann & Shechtman (2017), Controlling perceptual factors in "
    "neural style transfer, CVPR; code: leongatys/NeuralImageSynthesis",
    evaluations=700,  # notebooks: max_iter 500 at img_size, then hr_max_iter 200 at hr_img_size
    stages=Stages(((0.5, 5 / 7), (1.0, 2 / 7))),  # notebooks: img_size 512, hr_img_size 1024
    # ImageSynthesis.lua: tolX = tolFun = 0; the rest are the defaults of torch7's optim.lbfgs.
    optimiser=TorchLBFGS(iterations=500, gradient_tolerance=0.0, change_tolerance=0.0),
    pixels=1024,
    measured="area at most",  # notebooks: pyramid_reduce, which leaves smaller ones as they are
    style_size="area",
    notes=(
        "Numbers are those of the notebooks' standard parameters, with the network that is not "
        "normalised.",
        NO_CAFFE,
        OTHER_SCALE,
        "torch's L-BFGS stands for torch7's optim.lbfgs.",
        BLIND_STEPS,
        "A painting is brought to the area of the picture, also a smaller one, by bicubic "
        "interpolation with antialiasing; the notebooks smooth with a Gaussian, and leave smaller "
        "ones as they are.",
        NOT_ROUNDED,
    ),
)
GATYS2016_FAST = dataclasses.replace(
    GATYS2016,
    name="gatys2016-fast",
    paper="The loss of gatys2016, by the engine's own search",
    evaluations=360,
    optimiser=None,
    stages=None,
    approached=True,
    notes=(
        "The loss is that of gatys2016; the search is not, which makes it several times as fast. "
        "It goes from coarse to fine, in bfloat16 where that is faster, and on the way compares "
        "styles in balanced Gram matrices and holds on to the content. The last 44 % of the "
        "evaluations are of the loss itself.",
        "The picture is another of about the same loss, not the one that gatys2016 makes.",
        NO_CAFFE,
        OTHER_SCALE,
    ),
)
USTYUZHANINOV2017 = Procedure(
    name="ustyuzhaninov2017",
    task="texture",
    paper="Ustyuzhaninov, Brendel, Gatys & Bethge (2017), What does it take to generate natural "
    "textures?, ICLR; code: ivust/random-texture-synthesis",
    # synthesise.py: 128 maps of each size, rectified, Lasagne's default weights (Glorot uniform)
    network=NetworkChoice(
        "random-multiscale",
        {},
        "random-multiscale (sizes 3, 5, 7, 11, 15, 23, 37, 55, maps 128, rectified True)",
    ),
    layers=("filters",),
    statistic="gram",
    loss=Loss("4 N^2", 1e7),  # synthesise.py: 1e7 / (4 N^2 M^2) of matrices not divided by M
    evaluations=4000,  # synthesise.py: maxfun
    optimiser=ScipyLBFGSB(counts="evaluations"),  # fmin_l_bfgs_b: m=10, factr=1e7, pgtol=1e-5
    noise=Noise("training mean", 1.0, "uniform"),  # synthesise.py: uniform(-1, 1)
    pixels=256,
    measured="square",  # synthesise.py: the middle of the picture, of 256 x 256
    stages=ONE_SIZE,
    fitting_layers=False,
    range_weight=0.0,
    notes=(
        "The published code does not fix the seed of its filters; here it is 0 unless another "
        "model is given.",
        "The noise is about the mean that Caffe's networks subtract, less than half a grey level "
        "from the rounded one of the code.",
        "Of a picture of another size than its exemplar, Gram matrices are compared by position.",
    ),
)
HEITZ2021 = Procedure(
    name="heitz2021",
    task="texture",
    paper="Heitz, Vanhoey, Chambon & Belcour (2021), A sliced Wasserstein loss for neural texture "
    "synthesis, CVPR; code: tchambon/A-Sliced-Wasserstein-Loss-for-Neural-Texture-Synthesis",
    network=NetworkChoice(
        "vgg19",
        {"pooling": "avg", "padding": "reflect"},
        "vgg19 (Caffe's weights, normalised, avg pooling, reflect padding)",
        normalised="trained",
    ),
    layers=FOUR_BLOCKS,  # 12: all convolutions of the first four blocks
    statistic=REDRAWN,  # as many directions as channels, new ones at every evaluation
    loss=Loss("size"),  # script: mean over directions and positions, layers alike
    evaluations=4096,  # script: 64 calls of 64
    optimiser=TorchLBFGS(iterations=64, gradient_tolerance=0.0, scale=1.0),
    noise=Noise("exemplar mean", 0.01 * 255),  # script: 0.01 of pixels in [0, 1]
    multiple=8,  # script: as the fourth block reduces
    stages=ONE_SIZE,
    fitting_layers=False,
    range_weight=0.0,
    notes=(
        "The authors' weights are scaled in a way of their own; here the network is normalised as "
        "by Gatys et al.",
        NO_CAFFE,
        OWN_NORMALISATION,
        "The exemplar is seen once; the script sees it anew each time, to the same features.",
        "A picture of another size is compared at the exemplar's interpolated quantiles; the "
        "script repeats the exemplar's samples, and takes multiples of its size alone.",
        "The picture is the one last evaluated; the script's has one step more.",
    ),
)
GONTHIER2022 = Procedure(
    name="gonthier2022",
    task="texture",
    paper="Gonthier, Gousseau & Ladjal (2022), High-resolution neural texture synthesis with "
    "long-range constraints, JMIV; code: ngonthier/multiresolution_texture",
    network=NORMALISED_VGG,
    layers=POOLS,
    statistic="gram",
    loss=Loss("4 N^2 layers", 1e9),  # texture_losses: l2_loss is half of the sum of squares
    spectrum=1e5,  # Arg_Parser.py: beta_spectrum
    spectrum_loss="every frequency",
    evaluations=3000,  # Arg_Parser.py: max_iter 1000, at each of the K + 1 sizes
    stages=Stages(((0.25, 1 / 3), (0.5, 1 / 3), (1.0, 1 / 3))),  # get_scales with K = 2
    optimiser=ScipyLBFGSB(history=20),  # maxcor 20, and scipy's tolerances
    bounds="by channel",  # clipping_type ImageStyleBGR
    noise=Noise("exemplar mean", 1.0),  # get_init_noise_img_gaussian
    reduction="area",  # load_img: INTER_AREA
    fitting_layers=False,
    range_weight=0.0,
    pixels=1024,  # of the paper's textures
    measured="area at most",
    notes=(
        "evaluations are iterations of L-BFGS-B here, which take one evaluation or a few more.",
        "This is the paper's Gram matrices with spectrum and multi-resolution; the code's own "
        "defaults are Gram matrices alone at one size.",
        "The spectrum's weight suits a normalised network. Where responses are smaller, as of "
        "random weights, it outweighs the Gram matrices, and the picture changes slowly: try "
        "spectrum=1e3.",
        NO_CAFFE,
        OWN_NORMALISATION,
        NOT_ROUNDED,
    ),
)
PS2000 = Procedure(
    name="ps2000",
    task="texture",
    paper="Portilla & Simoncelli (2000), A parametric texture model based on joint statistics of "
    "complex wavelet coefficients, IJCV 40, 49; statistics: plenoptic",
    # 710 numbers: 4 scales, 4 orientations, correlations over 7 x 7 positions
    network=NetworkChoice(
        "portilla-simoncelli",
        {"scales": 4, "orientations": 4, "neighbourhood": 7},
        "portilla-simoncelli (scales 4, orientations 4, neighbourhood 7)",
    ),
    statistic="features",
    grey=True,
    evaluations=400,
    multiple=16,  # a pyramid of 4 scales
    pixels=256,
    stages=ONE_SIZE,
    fitting_layers=False,
    notes=(
        "The paper projects the picture onto one group of constraints after the other, 50 times. "
        "Here all are approached at once by L-BFGS, each group's error relative to the exemplar's "
        "statistics; 400 evaluations are ours.",
        "Correlations and standard deviations stand for the paper's covariances, as plenoptic has "
        "it.",
        "Needs the optional package plenoptic.",
    ),
)

PUBLISHED: dict[str, Procedure] = {
    preset.name: preset
    for preset in (
        GATYS2015,
        GATYS2016,
        GATYS2016_FAST,
        GATYS2017_HR,
        USTYUZHANINOV2017,
        HEITZ2021,
        GONTHIER2022,
        PS2000,
    )
}
OWN: dict[str, Procedure] = {
    task: Procedure(name=DEFAULT, task=task, paper="the engine's own", evaluations=evaluations)
    for task, evaluations in (("texture", 400), ("style", 300))
}


def named(name: str, task: str | None = None) -> Procedure:
    """Return the preset of a name.

    Parameters
    ----------
    name : str
    task : {"texture", "style"}, optional
        For which it has to be; `default` is for both.

    Raises
    ------
    ValueError
        When there is none of that name, or it is for the other task.
    """
    if name == DEFAULT:
        return OWN[task or TASKS[0]]
    suited = [p.name for p in PUBLISHED.values() if task in (None, p.task)]
    if name not in PUBLISHED:
        near = difflib.get_close_matches(name, suited, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join([DEFAULT, *suited])
        raise ValueError(f"no preset is called {name!r}{hint} There are {known}")
    found = PUBLISHED[name]
    if name not in suited:
        known = ", ".join([DEFAULT, *suited])
        raise ValueError(f"{name} is a preset for {found.task}; those for {task} are {known}")
    return found


def listed() -> pd.DataFrame:
    """Return every preset: a table with columns name, task and paper."""
    own = OWN[TASKS[0]]
    rows = [(own.name, "texture, style", own.paper)]
    rows += [(p.name, p.task, p.paper) for p in PUBLISHED.values()]
    return pd.DataFrame(rows, columns=["name", "task", "paper"])


def sized(preset: Procedure, picture: Tensor) -> Tensor:
    """Return a picture (batch, 3, height, width) at the size that the paper's pictures had."""
    height, width = picture.shape[-2:]
    if preset.pixels is None:
        return picture
    if preset.measured.startswith("area"):
        scale = preset.pixels / (height * width) ** 0.5
    else:
        scale = preset.pixels / min(height, width)
    if preset.measured == "area at most" and scale > 1:
        return picture
    whole = image_files.resize(picture, (round(height * scale), round(width * scale)))
    if preset.measured != "square":
        return whole
    top, left = ((side - preset.pixels) // 2 for side in whole.shape[-2:])
    return whole[..., top : top + preset.pixels, left : left + preset.pixels]


def pictures(preset: Procedure) -> str:
    """Return the size of a paper's pictures in words."""
    side = preset.pixels
    if preset.measured == "shorter side":
        return f"{side} along the shorter side"
    if preset.measured == "square":
        return f"{side} x {side}"
    return f"the area of {side} x {side}"


def of_that_size(preset: Procedure, size: tuple[int, int]) -> bool:
    """Return whether a picture is as large as those of the paper."""
    if preset.pixels is None:
        return True
    if preset.measured == "shorter side":
        return min(size) == preset.pixels
    if preset.measured == "square":
        return size == (preset.pixels, preset.pixels)
    return abs((size[0] * size[1]) ** 0.5 / preset.pixels - 1) < 0.01
