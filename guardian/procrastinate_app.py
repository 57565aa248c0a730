"""The one place where procrastinate's app is adjusted."""

from procrastinate import App


def configure(app: App) -> None:
    """Jobs are found by autodiscovery of each app's `jobs` module; nothing more is needed yet."""
    app.perform_import_paths()
