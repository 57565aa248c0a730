"""Foreign keys point down, as imports do; import-linter cannot see them."""

import pytest
from django.apps import apps

LEVEL = {"guardian": 0, "phases": 1, "tools": 1, "memory": 1, "orchestrator": 2}
FRAMEWORK = {"contenttypes", "auth"}


def relations():
    for label in LEVEL:
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            for field in model._meta.get_fields():
                if field.is_relation and field.concrete and field.related_model is not None:
                    yield label, model, field, field.related_model._meta.app_label


def test_foreign_keys_point_down_or_stay_at_home():
    wrong = [
        f"{model.__name__}.{field.name} → {target}"
        for label, model, field, target in relations()
        if target not in FRAMEWORK and target != label and LEVEL[target] >= LEVEL[label]
    ]

    assert wrong == []


@pytest.mark.parametrize("label", sorted(LEVEL))
def test_every_model_names_itself(label):
    silent = [
        model.__name__
        for model in apps.get_app_config(label).get_models()
        if model.__str__ is object.__str__ or "__str__" not in vars(model)
    ]

    assert silent == []
