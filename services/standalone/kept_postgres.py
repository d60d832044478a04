"""The installation's PostgreSQL: the embedded one, started again when it dies, or a given one."""

from collections.abc import Generator
from contextlib import contextmanager

from database.server import answers
from services.standalone.directories import DataDirectory
from services.standalone.embedded_postgres import EmbeddedPostgres, start_postgres
from services.standalone.errors import StartError
from services.standalone.terminal import Terminal
from tenants.launchers.child_process import is_running
from tenants.run_directory import RunDirectory


class KeptPostgres:
    """Runs the server within `running`; with a URL of the operator's own it leaves it alone."""

    def __init__(
        self,
        *,
        own_url: str | None,
        data: DataDirectory,
        run: RunDirectory,
        administrator_password: str,
        terminal: Terminal,
    ) -> None:
        self._own_url = own_url
        self._data = data
        self._run = run
        self._administrator_password = administrator_password
        self._terminal = terminal
        self._server: EmbeddedPostgres | None = None

    @property
    def process_id(self) -> int | None:
        return None if self._server is None else self._server.process.pid

    @contextmanager
    def running(self) -> Generator[str]:
        """Yield the administrator's URL.

        Raises:
            StartError: the operator's own server does not answer.
        """
        if self._own_url is not None:
            if not answers(self._own_url):
                raise StartError("The PostgreSQL of ATELIER_DATABASE_URL does not answer.")
            yield self._own_url
            return
        self._server = self._start()
        try:
            yield self._server.admin_url
        finally:
            self._server.stop()

    def look_after(self) -> None:
        """Start the embedded server again if it died; the pools of the others reconnect."""
        if self._server is not None and not is_running(self._server.process):
            self._terminal.warn("postgres died and starts again")
            self._server = self._start()

    def _start(self) -> EmbeddedPostgres:
        server = start_postgres(
            data_directory=self._data.postgres,
            socket_directory=self._run.path / "postgres",
            log_path=self._data.logs / "postgres.log",
            admin_password=self._administrator_password,
        )
        self._terminal.tell(
            f"postgres runs as process {server.process.pid} (programs of {server.origin})"
        )
        return server
