"""Replies as the venues document them, for each kind of request, and what each of them means."""
