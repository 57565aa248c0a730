"""Fields of the operators' forms that Django has no own ones for."""

from typing import Any

from django import forms


class LinesField(forms.CharField):
    """Several short texts, one a line; commas part them, too."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", forms.Textarea(attrs={"rows": 4}))
        super().__init__(**options)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        return [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def validate(self, value: Any) -> None:
        if self.required and not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        for line in value:
            super().run_validators(line)


class JsonObjectField(forms.JSONField):
    """An object of any JSON values; nothing written is the empty one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false"}), **options)

    def clean(self, value: Any) -> Any:
        found = super().clean(value)
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise forms.ValidationError("Write a JSON object, such as {}.", code="invalid")
        return found
