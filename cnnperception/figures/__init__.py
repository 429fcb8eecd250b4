"""Every plot of the project: each a function of tables or arrays that returns a Figure.

No function touches pyplot's state, so figures can be drawn in scripts, servers and threads;
`save` writes them as PNG and PDF, the same bytes at every run.
"""

from .canvas import save
from .curves import layer_profile, loss_curves
from .dots import interval_dots
from .intervals import interval_curves
from .maps import layer_map, mds_map, shepard_plot, tsne_map
from .matrices import similarity_matrix
from .pictures import contact_sheet, panel, to_pixels
from .rdms import rdm_heatmaps
from .results import model_results
from .steps import waterfall
from .tolerance import tolerance_curves

__all__ = [
    "contact_sheet",
    "interval_curves",
    "interval_dots",
    "layer_map",
    "layer_profile",
    "loss_curves",
    "mds_map",
    "model_results",
    "panel",
    "rdm_heatmaps",
    "save",
    "shepard_plot",
    "similarity_matrix",
    "to_pixels",
    "tolerance_curves",
    "tsne_map",
    "waterfall",
]
