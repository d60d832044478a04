"""Which processes an installation on one machine consists of, and what each is told.

Each gets what it needs and no more: its own role's password, and no other's.
"""

import os
from dataclasses import dataclass
from typing import Final

from services.standalone.directories import DataDirectory
from services.standalone.secret_files import Secrets
from services.standalone.settings import Settings
from services.standalone.supervisor import ProcessOrder
from tenants.run_directory import RunDirectory

# What a process inherits of the terminal's environment.
_PASSED_ON: Final = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "PATH",
    "SSL_CERT_FILE",
    "TMPDIR",
)
_OF_DELETIONS: Final = "ATELIER_HOUSEKEEPER_DELETION_"
# The fleet's settings about the launchers that isolate, and how Docker is reached.
_OF_LAUNCHERS: Final = (
    "ATELIER_FLEET_CDI_",
    "ATELIER_FLEET_CONTAINER_",
    "ATELIER_FLEET_NVIDIA_",
    "ATELIER_FLEET_SANDBOX_",
    "ATELIER_FLEET_WORKER_",
    "DOCKER_HOST",
)
# Beyond what a process needs by itself to notice the signal and to close its connections.
_GRACE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What all processes of one machine share."""

    settings: Settings
    data: DataDirectory
    run: RunDirectory
    secrets: Secrets
    # Role → URL of its login.
    database_urls: dict[str, str]
    gateway_address: str
    # None: without the web page.
    console_address: str | None = None

    @property
    def objects_url(self) -> str:
        return f"file://{self.data.objects}"


def process_orders(installation: Installation) -> list[ProcessOrder]:
    """Return the processes in the order they start in."""
    console = installation.console_address
    return [
        _order(installation, "recorder", _recorder(installation)),
        _order(installation, "meter", _meter(installation)),
        _order(installation, "gateway", gateway_settings(installation)),
        _order(
            installation,
            "fleet",
            _fleet(installation),
            patience_seconds=installation.settings.drain_seconds + _GRACE_SECONDS,
        ),
        _order(installation, "housekeeper", _housekeeper(installation)),
        *([_order(installation, "console", _console(installation, console))] if console else []),
    ]


def inherited_environment(installation: Installation) -> dict[str, str]:
    """Return what every process of the installation has in its environment."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        **installation.run.mark,
        "PYTHONUNBUFFERED": "1",
    }


def gateway_settings(installation: Installation) -> dict[str, str]:
    """Return the gateway's settings, which its bootstrap command reads as well."""
    settings = installation.settings
    seller = {
        "ATELIER_GATEWAY_SELLER_LEGAL_NAME": settings.seller_legal_name,
        "ATELIER_GATEWAY_SELLER_POSTAL_ADDRESS": settings.seller_postal_address,
        "ATELIER_GATEWAY_SELLER_VAT_ID": settings.seller_vat_id,
    }
    return {
        "ATELIER_GATEWAY_LISTEN_ADDRESS": installation.gateway_address,
        "ATELIER_GATEWAY_DATABASE_URL": installation.database_urls["atelier_gateway"],
        "ATELIER_GATEWAY_OPERATOR_DATABASE_URL": installation.database_urls["atelier_operator"],
        "ATELIER_GATEWAY_RUN_DIRECTORY": str(installation.run.path),
        "ATELIER_GATEWAY_OBJECTS_URL": installation.objects_url,
        "ATELIER_GATEWAY_KEY_PEPPER": installation.secrets.key_pepper,
        "ATELIER_GATEWAY_PAGE_TOKEN_SECRET": installation.secrets.page_token_secret,
        "ATELIER_GATEWAY_MODEL_CATALOGUE_PATH": str(settings.model_catalogue_path),
        "ATELIER_GATEWAY_ENERGY_FACTORS_PATH": str(settings.energy_factors_path),
        "ATELIER_GATEWAY_DRAIN_SECONDS": str(settings.drain_seconds),
        **{name: value for name, value in seller.items() if value is not None},
    }


def _recorder(installation: Installation) -> dict[str, str]:
    return {
        "ATELIER_RECORDER_DATABASE_URL": installation.database_urls["atelier_recorder"],
        "ATELIER_RECORDER_METER_INTAKE_DATABASE_URL": installation.database_urls[
            "atelier_meter_intake"
        ],
        "ATELIER_RECORDER_RUN_DIRECTORY": str(installation.run.path),
        "ATELIER_RECORDER_SPOOL_DIRECTORY": str(installation.data.spool),
        "ATELIER_RECORDER_OBJECTS_URL": installation.objects_url,
    }


def _meter(installation: Installation) -> dict[str, str]:
    return {
        "ATELIER_METER_RUN_DIRECTORY": str(installation.run.path),
        "ATELIER_METER_CPU_DEVICE_COUNT": str(installation.settings.cpu_device_count),
        "ATELIER_METER_USE_GPUS": str(installation.settings.use_gpus),
    }


def _fleet(installation: Installation) -> dict[str, str]:
    settings = installation.settings
    optional = {
        "ATELIER_FLEET_THREADS_PER_WORKER": settings.threads_per_worker,
        "ATELIER_FLEET_DWELL_SECONDS_MIN": settings.dwell_seconds_min,
        "ATELIER_FLEET_DWELL_PER_COLD_START": settings.dwell_per_cold_start,
        # With GPUs the meter says which there are.
        "ATELIER_FLEET_CPU_DEVICE_COUNT": None if settings.use_gpus else settings.cpu_device_count,
    }
    return {
        "ATELIER_FLEET_DATABASE_URL": installation.database_urls["atelier_fleet"],
        "ATELIER_FLEET_RUN_DIRECTORY": str(installation.run.path),
        "ATELIER_FLEET_BROKER_DATA_DIRECTORY": str(installation.data.brokers),
        "ATELIER_FLEET_LOG_DIRECTORY": str(installation.data.logs),
        "ATELIER_FLEET_MODEL_CATALOGUE_PATH": str(settings.model_catalogue_path),
        "ATELIER_FLEET_RANDOM_CHECKPOINT_PATH": str(installation.data.random_checkpoint),
        "ATELIER_FLEET_LAUNCHER": settings.launcher,
        # What only such launchers ask for is told to the fleet itself.
        **{
            name: value
            for name, value in os.environ.items()
            if settings.launcher != "process" and name.startswith(_OF_LAUNCHERS)
        },
        "ATELIER_FLEET_END_SECONDS": str(settings.drain_seconds),
        "ATELIER_FLEET_END_CHILDREN_AT_EXIT": "true",
        **{name: str(value) for name, value in optional.items() if value is not None},
    }


def _housekeeper(installation: Installation) -> dict[str, str]:
    return {
        "ATELIER_HOUSEKEEPER_DATABASE_URL": installation.database_urls["atelier_housekeeper"],
        "ATELIER_HOUSEKEEPER_RUN_DIRECTORY": str(installation.run.path),
        "ATELIER_HOUSEKEEPER_OBJECTS_URL": installation.objects_url,
        # What a tenant's deletion keeps to is told to the housekeeper itself.
        **{name: value for name, value in os.environ.items() if name.startswith(_OF_DELETIONS)},
    }


def _console(installation: Installation, listen_address: str) -> dict[str, str]:
    return {
        "ATELIER_CONSOLE_GATEWAY_ADDRESS": installation.gateway_address,
        "ATELIER_CONSOLE_LISTEN_ADDRESS": listen_address,
    }


def _order(
    installation: Installation,
    name: str,
    settings: dict[str, str],
    *,
    patience_seconds: float | None = None,
) -> ProcessOrder:
    return ProcessOrder(
        name=name,
        environment={**inherited_environment(installation), **settings},
        patience_seconds=_GRACE_SECONDS if patience_seconds is None else patience_seconds,
    )
