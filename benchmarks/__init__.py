"""Measurements, each beside a reference taken in the same run. Not part of the wheel."""
