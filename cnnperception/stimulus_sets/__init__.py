"""Whole stimulus sets from a short file: textures and their controls, crops, trials, tables."""

from .make import CROP_TABLE, SHEET, TABLE, TRIAL_TABLE, make_stimulus_set

__all__ = ["CROP_TABLE", "SHEET", "TABLE", "TRIAL_TABLE", "make_stimulus_set"]
