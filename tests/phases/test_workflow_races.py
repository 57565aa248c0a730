"""A workflow is edited while its tickets live: nobody sees half of it, nothing is left askew."""

import pytest
from django.db import transaction

from guardian.errors import Invalid, StaleVersion
from phases import services
from phases.models import BoardColumn, Phase, Ticket, Workflow
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside
from tests.phases.test_workflow_yaml import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

# A second way through, with a column of its own.
LONGER = (
    SMALL.replace(
        "allowed_transitions: [PHASE_DONE]", "allowed_transitions: [PHASE_LOOK, PHASE_DONE]"
    )
    .replace(
        "  - id: PHASE_DONE\n    sequence_order: 1",
        "  - id: PHASE_LOOK\n    sequence_order: 1\n    name: Look\n"
        "    allowed_transitions: [PHASE_DONE]\n  - id: PHASE_DONE\n    sequence_order: 2",
    )
    .replace(
        "  - {id: done,",
        "  - {id: look, name: Look, sequence_order: 2, phase_mapping: [PHASE_LOOK]}\n"
        "  - {id: done,",
    )
)
# Shorter again; the last phase keeps the place that it has in the longer one.
SHORT = SMALL.replace("sequence_order: 1\n    name: Done", "sequence_order: 2\n    name: Done")
# Both phases in one column; the other column goes.
JOINED = LONGER.replace(
    "  - {id: look, name: Look, sequence_order: 2, phase_mapping: [PHASE_LOOK]}\n", ""
).replace("phase_mapping: [PHASE_WORK]", "phase_mapping: [PHASE_WORK, PHASE_LOOK]")


@pytest.fixture
def admin(transactional_db):
    team = factories.make_team("harbour")
    return factories.make_actor(team, "ada", role="admin", authority=5)


@pytest.fixture
def longer(admin) -> Workflow:
    services.import_file(actor=admin, text=LONGER)
    return Workflow.objects.get(key="small")


def edit(admin, text):
    return services.import_file(actor=admin, text=text, overwrite=True)


def opening(admin, phase=None):
    return Beside(
        lambda: services.open_ticket(actor=admin, title="A ship", workflow="small", phase=phase)
    )


def test_a_ticket_never_opens_in_a_phase_that_is_being_deleted(admin, longer):
    with transaction.atomic():
        edit(admin, SMALL)
        other = opening(admin, "PHASE_LOOK")
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)

    assert isinstance(other.refusal, Invalid)
    assert not Ticket.objects.exists()


def test_a_ticket_opens_in_the_column_that_its_phase_is_moved_to(admin, longer):
    with transaction.atomic():
        edit(admin, JOINED)
        other = opening(admin, "PHASE_LOOK")
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)

    ticket = Ticket.objects.select_related("phase", "column").get()
    assert (ticket.phase.key, ticket.column.key) == ("PHASE_LOOK", "work")
    assert ticket.column_id == ticket.phase.column_id
    assert BoardColumn.objects.get(key="work").admitted_count == 1


@pytest.mark.parametrize("text", [SMALL, JOINED], ids=["deleted", "in another column"])
def test_a_move_into_an_edited_phase_is_decided_again(admin, longer, text):
    ticket = services.open_ticket(actor=admin, title="A ship", workflow="small")

    with transaction.atomic():
        edit(admin, text)
        other = Beside(
            lambda: services.transition(actor=admin, ticket_id=ticket.pk, to_phase="PHASE_LOOK")
        )
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)

    assert isinstance(other.refusal, StaleVersion)
    ticket = Ticket.objects.select_related("phase").get()
    assert (ticket.phase.key, ticket.column_id) == ("PHASE_WORK", ticket.phase.column_id)


def test_an_import_waits_for_a_ticket_and_then_keeps_its_phase(admin, longer):
    with transaction.atomic():
        services.open_ticket(actor=admin, title="A ship", workflow="small", phase="PHASE_LOOK")
        other = Beside(lambda: edit(admin, SHORT))
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)

    assert [refusal["path"] for refusal in other.result.refused] == [
        "phases.PHASE_LOOK", "board_columns.look",
    ]  # fmt: skip
    assert Phase.objects.filter(workflow=longer, key="PHASE_LOOK").exists()


def test_two_imports_of_a_new_key_make_one_workflow(admin):
    with transaction.atomic():
        services.import_file(actor=admin, text=SMALL)
        other = Beside(lambda: services.import_file(actor=admin, text=SMALL))
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)

    assert other.result.creates == []
    assert Workflow.objects.filter(key="small").count() == 1


def test_two_imports_by_one_digest_are_one_and_a_refusal(admin, longer):
    digest = services.import_file(actor=admin, text=JOINED, dry_run=True, overwrite=True).digest

    with transaction.atomic():
        edit(admin, SMALL)
        other = Beside(
            lambda: services.import_file(
                actor=admin, text=JOINED, overwrite=True, expect_digest=digest
            )
        )
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)

    assert other.refusal.code == "digest_changed"
    assert not Phase.objects.filter(workflow=longer, key="PHASE_LOOK").exists()
