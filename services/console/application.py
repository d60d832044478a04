"""The console as an ASGI application: every request passes here before a page sees it."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from atelier.errors import CallError, NotAuthenticatedError
from services.console.doors import Doors
from services.console.errors import (
    ConsoleError,
    ForgedFormError,
    PageNotFoundError,
    RoleMissingError,
)
from services.console.forms import Form, read_form
from services.console.log_ins import LogInLimit
from services.console.pages.log_in import LogIn, forget_session, session_cookie_name
from services.console.pages.table import PAGES
from services.console.pictures import Thumbnails
from services.console.refusals import Refusal, refusal_of
from services.console.rendering import STATIC_ADDRESS, STATIC_FILES, Renderer
from services.console.security import SecurityHeaders, refuse_foreign_origin
from services.console.sessions import Session, Sessions
from services.console.settings import Settings
from services.console.visit import Page, Parts, Visit, theme_of

_FOR_GOOD: Final = "public, max-age=31536000, immutable"


class Console:
    """Finds the session, checks role and form, shows the page, words what went wrong."""

    def __init__(self, *, parts: Parts, sessions: Sessions) -> None:
        self._parts = parts
        self._sessions = sessions
        self._cookie_name = session_cookie_name(tls=parts.settings.tls)

    async def answer(self, page: Page, request: Request) -> Response:
        session = await self._sessions.find(
            request.cookies.get(self._cookie_name, ""), by_a_person=not page.by_itself
        )
        if session is None:
            return _log_in_first(request)
        try:
            visit = await self._visit(page, request, session)
            return await page.show(visit)
        except NotAuthenticatedError:
            await self._sessions.end(session)
            return forget_session(_log_in_first(request), self._cookie_name)
        except (ConsoleError, CallError) as error:
            return self._refuse(request, session, refusal_of(error))

    async def log_out(self, request: Request) -> Response:
        """End the session; a form like any other."""
        session = await self._sessions.find(request.cookies.get(self._cookie_name, ""))
        if session is not None:
            try:
                await self._form(request, session)
            except ConsoleError as error:
                return self._refuse(request, session, refusal_of(error))
            await self._sessions.end(session)
        answer = RedirectResponse("/login", status_code=303)
        return forget_session(answer, self._cookie_name)

    async def nowhere(self, request: Request, _: Exception) -> Response:
        """Answer for an address that is none."""
        session = await self._sessions.find(request.cookies.get(self._cookie_name, ""))
        return self._refuse(request, session, refusal_of(PageNotFoundError()))

    async def _visit(self, page: Page, request: Request, session: Session) -> Visit:
        if session.visitor.role not in page.roles:
            # Operators' pages are nobody else's business; an admin's are, for the same tenant.
            operators_only = session.visitor.is_operator or "/operator" in page.path
            raise PageNotFoundError if operators_only else RoleMissingError
        form = Form({})
        if page.method == "POST":
            form = await self._form(request, session)
        return Visit(request=request, parts=self._parts, session=session, form=form)

    async def _form(self, request: Request, session: Session) -> Form:
        refuse_foreign_origin(request)
        form = await read_form(request, bytes_max=self._parts.settings.form_bytes_max)
        if not session.forms_token_matches(form.text("csrf_token")):
            raise ForgedFormError
        return form

    def _refuse(self, request: Request, session: Session | None, refusal: Refusal) -> Response:
        if session is None:
            html = self._parts.renderer.render(
                "refused_outside.html", refusal=refusal, theme=theme_of(request)
            )
        else:
            visit = Visit(request=request, parts=self._parts, session=session, form=Form({}))
            html = visit.html("refused.html", refusal=refusal, method=request.method)
        headers = (
            {} if refusal.again_seconds is None else {"retry-after": str(refusal.again_seconds)}
        )
        return HTMLResponse(html, status_code=refusal.status_code, headers=headers)


def build_application(settings: Settings) -> Starlette:
    """Join everything."""
    doors = Doors(
        settings.gateway_address,
        root_certificates=settings.root_certificates(),
        overview_seconds=settings.overview_seconds,
    )
    parts = Parts(
        settings=settings,
        renderer=Renderer(),
        doors=doors,
        thumbnails=Thumbnails(bytes_max=settings.thumbnail_memory_bytes_max),
    )
    sessions = Sessions(
        doors,
        idle_seconds=settings.session_idle_seconds,
        seconds_max=settings.session_seconds_max,
        sessions_max=settings.sessions_max,
    )
    limit = LogInLimit(per_minute_max=settings.log_ins_per_minute_max)
    log_in = LogIn(parts=parts, sessions=sessions, limit=limit)
    console = Console(parts=parts, sessions=sessions)
    return Starlette(
        routes=[
            Route("/health", _healthy),
            Route("/login", log_in.show, methods=["GET"]),
            Route("/login", log_in.enter, methods=["POST"]),
            Route("/logout", console.log_out, methods=["POST"]),
            *_routes(console),
            Mount(STATIC_ADDRESS, KeptFiles(directory=STATIC_FILES)),
        ],
        middleware=[Middleware(SecurityHeaders, tls=settings.tls)],
        exception_handlers={404: console.nowhere, 405: console.nowhere},
        lifespan=partial(_close_doors_at_the_end, doors),
    )


class KeptFiles(StaticFiles):
    """Static files under an address that changes with them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["cache-control"] = _FOR_GOOD
        return answer


def _routes(console: Console) -> list[Route]:
    return [
        Route(page.path, _endpoint(console, page), methods=[page.method], name=page.path)
        for page in PAGES
    ]


def _endpoint(console: Console, page: Page) -> Callable[[Request], Awaitable[Response]]:
    # Not functools.partial: starlette takes its first argument for an ASGI scope then.
    async def endpoint(request: Request) -> Response:
        return await console.answer(page, request)

    return endpoint


@asynccontextmanager
async def _close_doors_at_the_end(doors: Doors, _: Starlette) -> AsyncGenerator[None]:
    yield
    await doors.close()


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def _log_in_first(request: Request) -> Response:
    """Send pages to the log-in and back, and parts of pages nowhere."""
    if request.headers.get("hx-request") or request.headers.get("accept") == "text/event-stream":
        return Response(status_code=401, headers={"hx-redirect": "/login"})
    target = request.url.path if request.method == "GET" else "/"
    return RedirectResponse("/login" if target == "/" else f"/login?next={target}", status_code=303)
