"""Shapes of a ticket's context."""

from typing import Any

from rest_framework import serializers

from guardian.http import StrictSerializer


class ContextQuestion(StrictSerializer):
    phase_id = serializers.CharField(max_length=46, required=False)


class ContextAnswer(serializers.Serializer[Any]):
    full_context = serializers.DictField(
        help_text="Its own keys, and `phases`: what each found out, with `history` (the last 50)"
        " and `last_updated_phase`. At most 256 KiB is carried along; the oldest outputs go first."
    )
    summary = serializers.CharField(help_text="At most 20 points and 2,000 characters.")
