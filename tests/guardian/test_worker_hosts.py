"""Worker processes that beat, fall silent, and leave."""

from datetime import timedelta

import pytest
from django.utils import timezone

from guardian import hosts
from guardian.models import WorkerHost

pytestmark = pytest.mark.django_db


class TestWorkerHosts:
    def test_counts_the_slots_of_live_workers_that_serve_the_queue(self):
        hosts.announce(queues=["agents", "default"], concurrency=4)
        WorkerHost.objects.create(
            name="elsewhere:1", queues=["memory"], concurrency=8,
            started_at=timezone.now(), heartbeat_at=timezone.now(),
        )  # fmt: skip

        assert hosts.slots("agents") == 4

    def test_a_silent_worker_offers_nothing(self):
        hosts.announce(queues=["agents"], concurrency=4)
        WorkerHost.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=31))

        assert hosts.slots("agents") == 0

    def test_beating_again_makes_no_second_row_and_long_silence_is_forgotten(self):
        hosts.announce(queues=["agents"], concurrency=4)
        WorkerHost.objects.update(name="gone:1", heartbeat_at=timezone.now() - timedelta(hours=2))

        hosts.announce(queues=["agents"], concurrency=2)
        hosts.announce(queues=["agents"], concurrency=3)

        assert [(h.name, h.concurrency) for h in WorkerHost.objects.all()] == [
            (hosts.worker_name(), 3)
        ]

    def test_a_worker_that_ends_is_taken_off_the_list(self):
        hosts.announce(queues=["agents"], concurrency=4)

        hosts.withdraw()

        assert not WorkerHost.objects.exists()
