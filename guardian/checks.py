"""System checks: a wrong installation is refused at the start, with a hint."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution

from guardian.addresses import allowances, networks


@register()
def secrets_are_set(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.SECRET_KEY:
        found.append(
            Error(
                "LEMNOS_SECRET_KEY is not set.",
                hint="Start with script/server.",
                id="guardian.E002",
            )
        )
    if not settings.TOKEN_PEPPERS:
        found.append(
            Error(
                "LEMNOS_TOKEN_PEPPERS is not set.",
                hint="Start with script/server.",
                id="guardian.E003",
            )
        )
    if settings.UNTRUSTED_LEVEL not in {"container", "bwrap+", "bwrap"}:
        found.append(
            Error(
                f"LEMNOS_UNTRUSTED_LEVEL is {settings.UNTRUSTED_LEVEL!r}.",
                hint="Use container, bwrap+ or bwrap.",
                id="guardian.E004",
            )
        )
    return found


@register()
def egress_networks_can_be_read(**_: Any) -> list[CheckMessage]:
    try:
        allowances(settings.EGRESS_ALLOW)
    except ValueError as error:
        return [
            Error(
                f"LEMNOS_EGRESS_ALLOW: {error}.",
                hint="Write networks: 10.1.0.0/16, 10.1.2.3:8443, [fd00::/8]:8443.",
                id="guardian.E005",
            )
        ]
    return []


@register()
def metrics_networks_can_be_read(**_: Any) -> list[CheckMessage]:
    try:
        networks(settings.METRICS_ALLOW)
    except ValueError as error:
        return [
            Error(
                f"LEMNOS_METRICS_ALLOW: {error}.",
                hint="Write networks: 127.0.0.0/8, 10.1.2.3, fd00::/8.",
                id="guardian.E007",
            )
        ]
    return []


@register()
def backups_are_asked_for(**_: Any) -> list[CheckMessage]:
    if settings.BACKUPS in {"hourly", "daily", "off"}:
        return []
    return [
        Error(
            f"LEMNOS_BACKUPS is {settings.BACKUPS!r}.",
            hint="Use hourly, daily or off.",
            id="guardian.E006",
        )
    ]


@register()
def webhooks_have_a_key(**_: Any) -> list[CheckMessage]:
    if settings.WEBHOOK_KEY:
        return []
    return [
        Caution(
            "LEMNOS_WEBHOOK_KEY is not set, so there can be no webhooks.",
            hint="Start with script/server, or set it, the same on every host.",
            id="guardian.W001",
        )
    ]


@register()
def every_view_has_a_scope(**_: Any) -> list[CheckMessage]:
    """Deny by default: an API view without a scope for each of its actions stops the start."""
    from django.urls import get_resolver

    from guardian.http import missing_scopes

    return [
        Error(f"{where} has no scope.", hint="Add it to `scopes`.", id="guardian.E001")
        for where in missing_scopes(get_resolver())
    ]
