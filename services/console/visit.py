"""One request of somebody who is logged in: what a page gets, and what it answers with."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from atelier import AsyncClient
from services.console.doors import Door, Doors
from services.console.forms import Form
from services.console.navigation import current_place, places_for
from services.console.pictures import Thumbnails
from services.console.rendering import Renderer
from services.console.sessions import Role, Session, Visitor
from services.console.settings import Settings

THEMES: Final = ("auto", "light", "dark")
THEME_COOKIE: Final = "atelier_theme"
# A key that was revoked shows pictures from our own memory no longer than this.
_CONFIRMATION_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all pages share."""

    settings: Settings
    renderer: Renderer
    doors: Doors
    thumbnails: Thumbnails


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who asks, for what, with which form."""

    request: Request
    parts: Parts
    session: Session
    form: Form

    @property
    def visitor(self) -> Visitor:
        return self.session.visitor

    @property
    def door(self) -> Door:
        return self.session.door

    @property
    def client(self) -> AsyncClient:
        return self.session.door.client

    def client_for(self, tenant_id: str) -> AsyncClient:
        """Return an operator's client that acts for a tenant."""
        return self.parts.doors.client_for(self.session.api_key, tenant_id)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def parameter(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """Return a parameter of the address; empty when missing, shortened when endless."""
        return self.request.query_params.get(name, "")[:4000]

    async def confirm(self) -> None:
        """See that the key still opens, before something of our own memory is shown.

        Raises:
            CallError: it does not, or nobody answers.
        """
        if time.monotonic() - self.session.confirmed_seconds < _CONFIRMATION_SECONDS:
            return
        if self.visitor.is_operator:
            await self.client.list_workers()
        else:
            await self.client.get_tenant()
        self.session.confirmed_seconds = time.monotonic()

    def page(self, template: str, *, status_code: int = 200, **values: object) -> Response:
        """Answer with a page inside the frame."""
        html = self.html(template, **values)
        return HTMLResponse(html, status_code=status_code)

    def html(self, template: str, **values: object) -> str:
        path = self.request.url.path
        role = self.visitor.role
        return self.parts.renderer.render(
            template,
            visitor=self.visitor,
            zone=self.visitor.time_zone,
            now=self.now,
            csrf_token=self.session.csrf_token,
            # Sent twice, a form does once what it says.
            request_id=str(uuid4()),
            places=places_for(role),
            here=current_place(role, path),
            path=path,
            theme=theme_of(self.request),
            **values,
        )


Show = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An address, who may go there, and what is shown."""

    method: str
    path: str
    show: Show
    roles: frozenset[Role]
    # Asked for by pages themselves: does not keep a session alive.
    by_itself: bool = False


def see(path: str) -> Response:
    """Send the browser elsewhere after a form was done."""
    return RedirectResponse(path, status_code=303)


def theme_of(request: Request) -> str:
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return theme if theme in THEMES else "auto"


def own_path(wanted: str, *, otherwise: str) -> str:
    """Return a path on this site; another site's address is not followed."""
    is_own = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_own and wanted.isprintable() else otherwise
