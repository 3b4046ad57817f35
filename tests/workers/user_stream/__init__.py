"""Tests of `workers/user_stream`."""
