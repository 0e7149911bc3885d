"""The task families, one a module with its templates beside it, and the mixture of them that training draws from."""

from training.data.families.mixture import FAMILIES, FamilyWeightError, load_mixture, verify_weights
from training.data.families.sources import Sources
from training.data.families.tools import ToolShares

__all__ = ["FAMILIES", "FamilyWeightError", "Sources", "ToolShares", "load_mixture", "verify_weights"]
