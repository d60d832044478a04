"""Which launcher the operator chose."""

from services.fleet.settings import Settings
from tenants.launchers.container_launcher import ContainerLauncher, ContainerOptions
from tenants.launchers.process_launcher import ProcessLauncher
from tenants.launchers.sandbox_launcher import SandboxLauncher
from tenants.launchers.worker_launcher import WorkerLauncher
from tenants.run_directory import RunDirectory


def make_launcher(settings: Settings) -> WorkerLauncher:
    """Make the launcher of `ATELIER_FLEET_LAUNCHER`; it has not looked at the host yet."""
    if settings.launcher == "container":
        options = ContainerOptions(
            image=settings.container_image,
            limits=settings.worker_limits,
            first_user=settings.container_user_first,
            cdi_devices=settings.cdi_devices,
            paths_on_host=settings.paths_on_host,
            nvidia_toolkit_version=settings.nvidia_toolkit_version,
        )
        return ContainerLauncher(options, RunDirectory(settings.run_directory).mark)
    if settings.launcher == "sandbox":
        return SandboxLauncher(settings.worker_limits, first_user=settings.sandbox_user_first)
    return ProcessLauncher()
