"""Models between HMAX and a small VGG: two stages, each of them the one's or the other's."""

from .family import CHANGES as CHANGES
from .family import between as between
from .model import Hierarchy as Hierarchy
from .stages import ConvolutionStage as ConvolutionStage
from .stages import GaborStage as GaborStage
from .stages import LearntGaborStage as LearntGaborStage
from .stages import UnitStage as UnitStage
from .stages import deep_stage as deep_stage
from .stages import patch_stage as patch_stage
from .units import GaussianUnits as GaussianUnits
from .units import RectifiedUnits as RectifiedUnits
from .units import sample_patches as sample_patches
