"""Isolated runs: one supervisor, four levels, judged by what really happened."""
