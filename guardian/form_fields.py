"""Fields of the operators' forms that Django has no own ones for."""

from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput

from guardian.bodies import check_storable, read_json
from guardian.errors import Invalid
from guardian.pressing import sentence


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

    def to_python(self, value: Any) -> Any:
        """As strict as a request's body is read: what is saved can be stored and told."""
        if value in self.empty_values:
            return {}
        try:
            found = read_json(value)
        except ValueError as error:
            said = sentence(f"This is no JSON: {str(error)[:200]}")
            raise forms.ValidationError(said, code="invalid") from error
        if not isinstance(found, dict):
            raise forms.ValidationError("Write a JSON object, such as {}.", code="invalid")
        try:
            check_storable(found)
        except Invalid as refusal:
            raise forms.ValidationError(sentence(refusal.detail), code="invalid") from refusal
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was written is shown again letter by letter."""
        return initial if self.disabled or data is None else InvalidJSONInput(data)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Nobody asks: a form is sent as a whole, and the service looks at what differs."""
        return True
