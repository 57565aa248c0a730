"""Starts, supervises and tests Lemnos; standard library only, as it runs before the virtualenv."""
