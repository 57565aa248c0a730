"""Whole chains through real processes."""
