"""The evaluation suites: what a trained pair is asked, from near to far."""

from training.evaluation.suites.load import SUITES, load_suites
from training.evaluation.suites.tasks import Suite, SuiteSizes, SuiteTask

__all__ = ["SUITES", "Suite", "SuiteSizes", "SuiteTask", "load_suites"]
