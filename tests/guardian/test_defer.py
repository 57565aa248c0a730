"""Deferred work commits with the change it belongs to, in web processes and in workers."""

from uuid import uuid4

import pytest
from django.db import connection, transaction
from procrastinate.contrib.django import app
from procrastinate.exceptions import TaskNotFound
from procrastinate.testing import InMemoryConnector

from guardian.outbox import OutsideTransaction, defer


@pytest.fixture
def queue() -> str:
    """A queue of this test: what was committed stays in procrastinate's tables."""
    return uuid4().hex


def jobs(queue: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name FROM procrastinate_jobs WHERE queue_name = %s", [queue])
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.django_db(transaction=True)
class TestDefer:
    @pytest.fixture(params=["web", "worker"])
    def _process(self, request):
        """A worker replaces the connector of the app by a pool of its own."""
        if request.param == "web":
            yield
            return
        elsewhere = InMemoryConnector()
        with app.replace_connector(elsewhere):
            yield
            assert not elsewhere.jobs

    @pytest.mark.usefixtures("_process")
    def test_the_job_is_there_exactly_when_the_change_committed(self, queue):
        with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012  the raise is the point
            defer("phases.sweep_leases", queue=queue, timestamp=1)
            raise ZeroDivisionError

        assert jobs(queue) == []

        with transaction.atomic():
            defer("phases.sweep_leases", queue=queue, timestamp=1)
        assert jobs(queue) == ["phases.sweep_leases"]

    def test_an_unknown_job_is_refused_at_once(self, queue):
        with pytest.raises(TaskNotFound), transaction.atomic():
            defer("phases.no_such_job", queue=queue)

    def test_outside_a_transaction_it_refuses(self, queue):
        with pytest.raises(OutsideTransaction):
            defer("phases.sweep_leases", queue=queue, timestamp=1)

    def test_a_second_one_under_the_same_queueing_lock_is_no_error(self, queue):
        with transaction.atomic():
            first = defer("phases.sweep_leases", queue=queue, queueing_lock=queue, timestamp=1)
            second = defer("phases.sweep_leases", queue=queue, queueing_lock=queue, timestamp=1)

        assert (first, second) == (True, False)
        assert len(jobs(queue)) == 1
