"""Statistics that devices gather and that merge exactly, and the heads that follow from them.

Whatever part of the data each device has seen, and in whatever order their contributions come,
what is merged is what one device would have gathered from all of it, and so is the head. Only
NumPy is needed. The graphs that gather are made by :mod:`headwater_models.graphs.gathering`.
"""

from headwater_models.statistics.learner import MIN_CLASS, Learner
from headwater_models.statistics.leaving import complaints, says_too_much
from headwater_models.statistics.merging import add, dependence, merge, no_statistics, without
from headwater_models.statistics.solving import (
    check_layout,
    head_of,
    learner_of,
    learners,
    mean_loss,
    solve,
)

__all__ = [
    "MIN_CLASS",
    "Learner",
    "add",
    "check_layout",
    "complaints",
    "dependence",
    "head_of",
    "learner_of",
    "learners",
    "mean_loss",
    "merge",
    "no_statistics",
    "says_too_much",
    "solve",
    "without",
]
