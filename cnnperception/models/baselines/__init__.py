"""Classical models to hold the others against: pixels, silhouette, V1, gist, texture statistics."""

from .gist import Gist as Gist
from .pixels import Pixels as Pixels
from .portilla_simoncelli import PortillaSimoncelli as PortillaSimoncelli
from .silhouette import Silhouette as Silhouette
from .v1 import V1 as V1
