"""`--method auto`: which method a transfer takes where the user names none."""

from salt_ext.choosing.deciding import decide
from salt_ext.choosing.decision import Decision, Tried
from salt_ext.choosing.sample import Sample, read_sample

__all__ = ["Decision", "Sample", "Tried", "decide", "read_sample"]
