"""The rows of phases."""
