"""Two who give the same name at the same moment: one gets it, the other is told so."""

import pytest
from django.db import transaction

from guardian import services
from guardian.errors import AlreadyExists
from guardian.models import Team, User, Webhook
from tests.beside import PATIENCE_SECONDS, Beside

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(
    ("make", "model"),
    [
        (
            lambda admin: services.create_webhook(
                actor=admin, name="Chat", url="https://example.org/in", kinds=["*"]
            ),
            Webhook,
        ),
        (
            lambda admin: services.add_user(
                actor=admin, username="nina", role="viewer", reason="she is new"
            ),
            User,
        ),
        (lambda _: services.create_team(slug="lighthouse", name="Lighthouse"), Team),
    ],
)
def test_the_second_is_told_that_it_exists(admin, make, model):
    before = model.objects.count()

    with transaction.atomic():
        make(admin)
        beside = Beside(lambda: make(admin))
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    assert isinstance(beside.refusal, AlreadyExists)
    assert model.objects.count() == before + 1
