"""The trackers, one file each: how runs are written in each of them."""

from autoselection.tracking.trackers.base import Tracker, TrackerError, open_tracker

__all__ = ["Tracker", "TrackerError", "open_tracker"]
