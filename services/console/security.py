"""What every answer carries, and what every form must show."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.errors import ForgedFormError

# Nothing from elsewhere, nothing inline: a prompt that were a script would still not run.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Not no-referrer: with it browsers hide where a form comes from, which we look at.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_TWO_YEARS: Final = "max-age=63072000"


class SecurityHeaders:
    """Puts the headers on every answer; pages are kept by nobody unless they say so."""

    def __init__(self, app: ASGIApp, *, tls: bool) -> None:
        self._app = app
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if self._tls:
                    headers["strict-transport-security"] = _TWO_YEARS
            await send(message)

        await self._app(scope, receive, send_with_headers)


def refuse_foreign_origin(request: Request) -> None:
    """Refuse what another site's page sends; tokens are checked besides.

    Raises:
        ForgedFormError: the browser says that it comes from elsewhere.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    if site not in {"same-origin", "none"}:
        raise ForgedFormError
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise ForgedFormError
