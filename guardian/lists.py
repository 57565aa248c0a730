"""How the admin's lists introduce themselves."""

from functools import cache
from typing import Any

from django.http import HttpRequest

from guardian.links import titled


@cache
def titled_list(base: type) -> type:
    """A list called by what it shows, which offers to show all only where it does not."""

    class Titled(base):  # type: ignore[misc]  # the one of Django or of unfold
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = titled(self.opts.verbose_name_plural)

        def get_results(self, request: HttpRequest) -> None:
            super().get_results(request)
            if not (self.query or self.has_active_filters):
                self.full_result_count: int = self.result_count

    return Titled
