"""JSON whose decimal numbers keep every digit: as numbers in the database, as Decimal here."""

import json
import re
import secrets
from decimal import Decimal
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder


class ExactEncoder(DjangoJSONEncoder):
    """Writes a Decimal as a JSON number with all of its digits; NaN and infinities are refused."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_nan": False})
        # The standard encoder knows no way to write a number by its text, so a mark stands for it.
        self._mark = f"\x00{secrets.token_hex(8)}:"

    def default(self, o: Any) -> Any:
        if isinstance(o, Decimal):
            if not o.is_finite():
                raise ValueError(f"{o} is no JSON number")
            return f"{self._mark}{o}"
        return super().default(o)

    def encode(self, o: Any) -> str:
        text = super().encode(o)
        mark = json.dumps(self._mark)[1:-1]
        return re.sub(f'"{re.escape(mark)}([^"]*)"', r"\1", text) if mark in text else text


class ExactDecoder(json.JSONDecoder):
    """Reads decimal numbers as Decimal."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "parse_float": Decimal})


def exact_json(value: Any) -> Any:
    """The value as it will be read back from the database. Raises TypeError, ValueError."""
    return json.loads(json.dumps(value, cls=ExactEncoder), cls=ExactDecoder)
