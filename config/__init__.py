"""Wiring: settings, URLs and the ASGI entry. Imported by nobody."""
