"""The rows of tools."""
