"""The console on a socket, and a browser's part of the talk."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from services.console.application import build_application
from services.console.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedConsole:
    base_url: str

    @asynccontextmanager
    async def browser(self, api_key: str | None = None) -> AsyncGenerator["Browser"]:
        """A browser, logged in where a key is given."""
        async with httpx.AsyncClient(base_url=self.base_url, timeout=60) as http:
            browser = Browser(http)
            if api_key is not None:
                answer = await browser.log_in(api_key)
                assert answer.status_code == 303, answer.text
            yield browser


class Browser:
    """What a person does with forms."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=headers)

    async def log_in(self, api_key: str, *, next_path: str = "") -> httpx.Response:
        page = await self.get(f"/login?next={next_path}")
        fields = {"form_token": field(page.text, "form_token"), "next": next_path}
        return await self.http.post("/login", data={**fields, "api_key": api_key})

    async def send(self, path: str, *, of: str, **fields: str) -> httpx.Response:
        """Send a form of the page ``of``, with its token."""
        token = field((await self.get(of)).text, "csrf_token")
        return await self.http.post(path, data={"csrf_token": token, **fields})


def field(html: str, name: str) -> str:
    match = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert match is not None, html
    return match[1]


@asynccontextmanager
async def served_console(gateway_address: str, **settings: Any) -> AsyncGenerator[ServedConsole]:
    """Serve on a free port, in this event loop."""
    values: dict[str, Any] = {"gateway_address": gateway_address, **settings}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            build_application(Settings(**values)),
            log_config=None,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        try:
            yield ServedConsole(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """Leaves the signals to the test run."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
