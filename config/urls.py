"""Where each app's routes hang."""

from importlib.util import find_spec

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from guardian.logins import operators_only, throttled

handler404 = "guardian.views.not_found"
handler500 = "guardian.views.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/login/", operators_only(throttled(admin.site.login))),
    path("admin/password_change/", RedirectView.as_view(pattern_name="password")),
    path("admin/", admin.site.urls),
    *(path("", include(f"{app}.urls")) for app in settings.OWN_APPS if find_spec(f"{app}.urls")),
]
