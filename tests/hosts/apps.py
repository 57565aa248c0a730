"""Hosts that beat ten times as fast, so that a death is noticed within seconds."""

from django.apps import AppConfig


class HostsConfig(AppConfig):
    name = "tests.hosts"
    label = "hosts"

    def ready(self) -> None:
        from guardian import hosts, jobs
        from guardian.management.commands import worker

        worker.HEARTBEAT_SECONDS = 1
        worker.STALLED_SECONDS = jobs.STALLED_SECONDS = 3
        # What else beats on each host proves its sandbox by real bombs: of no use here.
        hosts._beats.clear()
