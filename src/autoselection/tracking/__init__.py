"""Studies in MLflow, Weights & Biases, trackio and TensorBoard: a run a trial, and one for the study."""

from autoselection.tracking.track import Tracked, track_study

__all__ = ["Tracked", "track_study"]
