"""The log-in: a key in, a session out."""

import secrets
from hmac import compare_digest
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from atelier.errors import (
    CallError,
    DeadlineExceededError,
    ErrorStatus,
    NotAuthenticatedError,
    UnavailableError,
)
from services.console.errors import ConsoleError, ForgedFormError
from services.console.forms import Form, read_form
from services.console.log_ins import LogInLimit, who_holds
from services.console.navigation import home_of
from services.console.security import refuse_foreign_origin
from services.console.sessions import Session, Sessions
from services.console.visit import Parts, own_path, theme_of

log = structlog.get_logger()

_FORM_COOKIE: Final = "atelier_log_in"
_FORM_BYTES_MAX: Final = 8 * 1024
# A token of an identity provider; the gateway takes none that is longer.
_KEY_LENGTH_MAX: Final = 6 * 1024


class LogIn:
    """Shows the form and takes it."""

    def __init__(self, *, parts: Parts, sessions: Sessions, limit: LogInLimit) -> None:
        self._parts = parts
        self._sessions = sessions
        self._limit = limit
        self._tls = parts.settings.tls

    async def show(self, request: Request) -> Response:
        return self._page(request, next_path=request.query_params.get("next", ""))

    async def enter(self, request: Request) -> Response:
        """Try a key; whatever is wrong is said on the same page."""
        try:
            form = await self._form(request)
        except ConsoleError:
            return self._page(request, message="The form had grown old. Try once more.", status=403)
        next_path = form.text("next")
        if not self._limit.take(request.client.host if request.client else ""):
            message = "Too many tries from your address. Wait a minute."
            return self._page(request, message=message, next_path=next_path, status=429)
        try:
            session = await self._open(form.text("api_key")[:_KEY_LENGTH_MAX])
        except CallError as error:
            message, status = _why_not(error)
            return self._page(request, message=message, next_path=next_path, status=status)
        return self._welcome(session, next_path)

    async def _form(self, request: Request) -> Form:
        refuse_foreign_origin(request)
        form = await read_form(request, bytes_max=_FORM_BYTES_MAX)
        cookie = request.cookies.get(_FORM_COOKIE, "")
        if not cookie or not compare_digest(form.text("form_token").encode(), cookie.encode()):
            raise ForgedFormError
        return form

    async def _open(self, api_key: str) -> Session:
        # What is no key at all is not even sent; gRPC would stumble over what is not ASCII.
        if not api_key.isascii() or not api_key.isprintable() or not api_key:
            raise _no_key()
        door = self._parts.doors.take(api_key)
        try:
            visitor = await who_holds(door.client)
            session = await self._sessions.start(api_key, visitor)
        finally:
            await self._parts.doors.give_back(api_key)
        log.info("logged_in", tenant=visitor.tenant_id, role=visitor.role)
        return session

    def _welcome(self, session: Session, next_path: str) -> Response:
        answer = RedirectResponse(
            own_path(next_path, otherwise=home_of(session.visitor.role)), status_code=303
        )
        answer.set_cookie(
            session_cookie_name(tls=self._tls),
            session.session_id,
            httponly=True,
            samesite="strict",
            secure=self._tls,
        )
        answer.delete_cookie(_FORM_COOKIE, path="/login", httponly=True, samesite="strict")
        return answer

    def _page(
        self, request: Request, *, message: str = "", next_path: str = "", status: int = 200
    ) -> Response:
        token = secrets.token_urlsafe(24)
        html = self._parts.renderer.render(
            "log_in.html",
            message=message,
            form_token=token,
            next_path=own_path(next_path, otherwise=""),
            theme=theme_of(request),
        )
        answer = HTMLResponse(html, status_code=status)
        answer.set_cookie(
            _FORM_COOKIE, token, path="/login", httponly=True, samesite="strict", secure=self._tls
        )
        return answer


def session_cookie_name(*, tls: bool) -> str:
    """Return a name that browsers bind to this very host where that is possible."""
    return "__Host-atelier_session" if tls else "atelier_session"


def forget_session(answer: Response, cookie_name: str) -> Response:
    answer.delete_cookie(cookie_name, httponly=True, samesite="strict")
    return answer


def _no_key() -> NotAuthenticatedError:
    return NotAuthenticatedError(
        ErrorStatus(code="UNAUTHENTICATED", reason="KEY_INVALID", message="this is no API key")
    )


def _why_not(error: CallError) -> tuple[str, int]:
    if isinstance(error, NotAuthenticatedError):
        return "This key does not open: it is wrong, expired or revoked.", 401
    if isinstance(error, UnavailableError | DeadlineExceededError):
        return "The gateway does not answer. Try again in a moment.", 503
    return f"The gateway refused: {error.status.message}", 403
