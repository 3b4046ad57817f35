"""Tests of `workers/positions`."""
