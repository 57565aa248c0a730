"""The installation's settings and one job that counts."""

from config.settings import *  # noqa: F403  all of them
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.apps.HostsConfig"]
