from . import datasets as datasets
from . import decoding as decoding
from . import figures as figures
from . import images as images
from . import models as models
from . import report as report
from . import rsa as rsa
from . import similarity as similarity
from .activations import extract as extract
from .models import list_models as list_models
from .models import load_model as load_model
from .statistics import channel_covariance as channel_covariance
from .statistics import channel_mean as channel_mean
from .statistics import flatten as flatten
from .statistics import gram as gram
from .statistics import spatial_mean as spatial_mean
from .stimuli import StimulusSet as StimulusSet
from .stimuli import exemplar as exemplar
from .stimuli import list_exemplars as list_exemplars
from .stimulus_sets import make_stimulus_set as make_stimulus_set
from .synthesis import SynthesisResult as SynthesisResult
from .synthesis import metamer as metamer
from .synthesis import stylize as stylize
from .synthesis import texture as texture

__version__: str
