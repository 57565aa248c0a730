"""The settings without django-unfold: the admin must work all the same."""

from config.settings import *  # noqa: F403  all of them but one line

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "unfold"]  # noqa: F405  from above
