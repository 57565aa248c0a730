"""Refusals that the framework makes before any view of ours is asked, in Lemnos's words."""

from guardian.errors import DomainError, Forbidden, Invalid, Unavailable


class UnknownField(Invalid):
    """The request has a field that this address does not know."""

    code = "unknown_field"
    remedy = "Leave it out, or look its name up in /api/docs."


class MalformedJson(Invalid):
    """The body is not valid JSON."""

    code = "malformed_json"
    remedy = "Send one JSON object in UTF-8, with Content-Type: application/json."


class CsrfFailed(Forbidden):
    """A change from a browser session needs the page's CSRF token."""

    code = "csrf_failed"
    remedy = "Reload the page and try again; programs send a token instead of a cookie."


class MethodNotAllowed(DomainError):
    """This address does not take this method."""

    code = "method_not_allowed"
    status = 405
    remedy = "Use one of the methods that the Allow header names."


class NotAcceptable(DomainError):
    """This address cannot answer in the form that was asked for."""

    code = "not_acceptable"
    status = 406
    remedy = "Send Accept: application/json, or leave the header out."


class UnsupportedMediaType(DomainError):
    """This address does not read bodies of this type."""

    code = "unsupported_media_type"
    status = 415
    remedy = "Send Content-Type: application/json; files are sent as multipart/form-data."


class DatabaseUnavailable(Unavailable):
    """The database does not answer right now."""

    code = "database_unavailable"
    retry_after = 2
    remedy = "Try again in a moment; if it lasts, an operator looks at /readyz and the log."


class Timeout(DomainError):
    """The answer took too long, so it was given up; nothing was changed."""

    code = "timeout"
    status = 504
    remedy = "Ask for less at once: a smaller limit or a narrower filter."


class InternalError(DomainError):
    """Something went wrong here; it has been logged under the request id."""

    code = "internal_error"
    status = 500
    remedy = "Try again; if it comes back, give an operator the request id."
