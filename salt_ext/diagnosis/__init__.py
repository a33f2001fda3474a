"""What became of a moved model, as facts and as one HTML page: see `salt_ext.diagnose`."""

from __future__ import annotations

from salt_ext.diagnosis.diagnosing import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
