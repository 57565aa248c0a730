"""The rows of guardian."""

from guardian.models.action import GuardianAction
from guardian.models.base import TeamQuerySet, TeamRow, uuid7
from guardian.models.error import ErrorLog
from guardian.models.event import Delivery, Event, IdempotencyKey
from guardian.models.host import WorkerHost
from guardian.models.identity import ApiToken, Membership, Team, User
from guardian.models.lock import LockRequest, ResourceLock
from guardian.models.money import Budget, CostRecord, PricePack
from guardian.models.schedule import ScheduledEvent
from guardian.models.webhook import Webhook, WebhookDelivery

__all__ = [
    "ApiToken",
    "Budget",
    "CostRecord",
    "Delivery",
    "ErrorLog",
    "Event",
    "GuardianAction",
    "IdempotencyKey",
    "LockRequest",
    "Membership",
    "PricePack",
    "ResourceLock",
    "ScheduledEvent",
    "Team",
    "TeamQuerySet",
    "TeamRow",
    "User",
    "Webhook",
    "WebhookDelivery",
    "WorkerHost",
    "uuid7",
]
