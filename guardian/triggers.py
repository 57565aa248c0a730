"""Installs an app's triggers in one step of its first migration.

Each `AddTrigger` would render the models anew for the state it changes, some tenths of a second
for each of some fifty triggers. Tables made in one migration may have theirs told in their options
and put into the database together, once all columns are there.
"""

from functools import partial
from typing import Any

from django.db.migrations import RunPython


def install_triggers(app_label: str) -> RunPython:
    """The operation that puts the triggers of all models known by then into the database."""
    return RunPython(partial(_install, app_label), partial(_uninstall, app_label))


def _install(app_label: str, apps: Any, schema_editor: Any) -> None:
    for trigger in _triggers(app_label, apps):
        schema_editor.execute(trigger.install_sql, params=None)


def _uninstall(app_label: str, apps: Any, schema_editor: Any) -> None:
    for trigger in _triggers(app_label, apps):
        schema_editor.execute(trigger.uninstall_sql, params=None)


def _triggers(app_label: str, apps: Any) -> list[Any]:
    models = apps.get_app_config(app_label).get_models()
    return [trigger for model in models for trigger in getattr(model._meta, "triggers", [])]
