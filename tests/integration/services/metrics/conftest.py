"""The five processes with `/metrics`, once for all tests here, over a database of their own."""

import asyncio
import secrets
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import conninfo

import atelier
from database.migration_runner import migrate
from database.roles import RUN_TIME_ROLES
from database.server import make_database
from services.gateway.bootstrap import make_first_operator_key
from tests.e2e.installations import CATALOGUE
from tests.integration.fixture_types import PASSWORD, Postgres
from tests.integration.installation import (
    MODEL,
    Process,
    Studio,
    open_studio,
    recorder_process,
    spec,
)
from tests.integration.services.metrics.scraping import event_of

PEPPER = "a pepper for tests, 32 characters"
ANY_PORT = "127.0.0.1:0"
PROCESSES = ("recorder", "meter", "gateway", "fleet", "housekeeper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs, and where each process answers scrapes."""

    ports: dict[str, int]
    gateway_address: str
    operator_key: str
    studio: Studio
    spool: Path

    def client(self, key: str | None = None) -> atelier.Client:
        return atelier.Client(self.gateway_address, api_key=key or self.operator_key)


@pytest.fixture(scope="module")
def running(postgres: Postgres) -> Generator[Running]:
    directory = Path(tempfile.mkdtemp(prefix="atl-"))
    own = Postgres(admin_url=_own_database(postgres))
    studio = asyncio.run(open_studio(own, "acme"))
    asyncio.run(studio.accept(spec(), spec()))
    key = asyncio.run(
        make_first_operator_key(own.url("atelier_operator"), pepper=PEPPER.encode(), another=False)
    )
    processes = _processes(own, directory)
    with ExitStack() as ended:
        ended.callback(shutil.rmtree, directory)
        for process in processes:
            process.start()
            ended.callback(process.end)
        yield Running(
            ports={
                process.name: event_of(process, "metrics_served")["port"] for process in processes
            },
            gateway_address=_listening(next(one for one in processes if one.name == "gateway")),
            operator_key=key,
            studio=studio,
            spool=directory / "spool",
        )
        for process in processes:
            process.send(signal.SIGTERM)
        assert {process.name: process.wait() for process in processes} == dict.fromkeys(
            PROCESSES, 0
        )


def _own_database(postgres: Postgres) -> str:
    name = f"metrics_{secrets.token_hex(6)}"
    make_database(postgres.admin_url, name)
    url = conninfo.make_conninfo(postgres.admin_url, dbname=name)
    migrate(url, role_passwords=dict.fromkeys(RUN_TIME_ROLES, PASSWORD))
    return url


def _processes(postgres: Postgres, directory: Path) -> list[Process]:
    (directory / "tenants").mkdir()
    catalogue = directory / "models.toml"
    catalogue.write_text(CATALOGUE.replace("[nothing]", f"[{MODEL}]"))

    def process(name: str, *, module: str = "", **settings: object) -> Process:
        given = {"run_directory": directory, "metrics_listen_address": ANY_PORT, **settings}
        return Process(
            name=name,
            environment={
                f"ATELIER_{name}_{setting}".upper(): str(value) for setting, value in given.items()
            },
            log_path=directory / f"{name}.log",
            module=module,
        )

    return [
        recorder_process(postgres, directory, metrics_listen_address=ANY_PORT),
        process("meter", module="tests.gpu_simulation.metered_process"),
        process(
            "gateway",
            listen_address=ANY_PORT,
            database_url=postgres.url("atelier_gateway"),
            operator_database_url=postgres.url("atelier_operator"),
            key_pepper=PEPPER,
            page_token_secret="s" * 32,
            objects_url=f"file://{directory / 'objects'}",
            model_catalogue_path=catalogue,
        ),
        process(
            "fleet",
            database_url=postgres.url("atelier_fleet"),
            broker_data_directory=directory / "brokers",
            log_directory=directory / "logs",
            model_catalogue_path=catalogue,
            # A card that is not there: nobody draws here.
            gpu_ids='["gpu-9"]',
            end_children_at_exit=True,
        ),
        process(
            "housekeeper",
            database_url=postgres.url("atelier_housekeeper"),
            objects_url=f"file://{directory / 'objects'}",
        ),
    ]


def _listening(gateway: Process) -> str:
    return f"127.0.0.1:{event_of(gateway, 'serving')['port']}"
