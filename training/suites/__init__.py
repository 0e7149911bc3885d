"""The evaluation suites: what a trained pair is asked, from near to far."""

from training.suites.load import SUITES, load_suites
from training.suites.tasks import Suite, SuiteSizes, SuiteTask

__all__ = ["SUITES", "Suite", "SuiteSizes", "SuiteTask", "load_suites"]
