"""HMAX: a feedforward hierarchy of simple and complex cells, and how its prototypes are made."""

from .imprinting import cluster as cluster
from .imprinting import imprint as imprint
from .imprinting import matched_noise as matched_noise
from .imprinting import shuffled as shuffled
from .matfile import read_patch_set as read_patch_set
from .matfile import write_patch_set as write_patch_set
from .model import HMAX as HMAX
from .pictures import draw as draw
from .pictures import locate as locate
from .pictures import pixel_boxes as pixel_boxes
from .prototypes import Prototypes as Prototypes
from .views import ViewTuned as ViewTuned
