"""Measuring the pool beside what else does its work, on one machine, both sides in turn."""
