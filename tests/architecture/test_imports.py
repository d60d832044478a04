"""The import rules that import-linter cannot say: they hang on file names, not on packages."""

import re
from pathlib import Path

from tests.architecture.source_tree import (
    ROOT,
    SDK_SOURCES,
    SERVER_PACKAGES,
    Import,
    imports_of,
    written_files,
)

# The processes that serve gRPC, and what listeners and callers share; everybody else reaches the
# wire through a client module.
RPC_SERVERS = ("services/gateway", "services/recorder", "services/meter", "services/transport")
# The console is a client like any other: it may read the messages that the SDK answers with.
SDK_READERS = ("services/console",)
# The one file of the fleet that KEDA calls.
RPC_SERVER_FILES = ("services/fleet/scaler.py",)
RPC_CLIENT_FILES = ("recorder_client.py", "meter_client.py", "gateway_client.py")


def server_imports() -> list[Import]:
    return list(imports_of(*written_files(*SERVER_PACKAGES)))


def lines(imports: list[Import]) -> list[str]:
    return [str(found) for found in imports]


def is_sdk_reader(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / reader) for reader in SDK_READERS)


def has_sql_beside_it(path: Path) -> bool:
    return path.with_suffix(".sql").exists()


def test_psycopg_is_imported_only_by_database_and_by_modules_with_a_sql_file_beside_them() -> None:
    strangers = [
        found
        for found in server_imports()
        if found.is_of("psycopg", "psycopg_pool")
        and not found.path.is_relative_to(ROOT / "database")
        and not has_sql_beside_it(found.path)
    ]

    assert lines(strangers) == []


def test_only_the_nvml_module_imports_pynvml() -> None:
    strangers = [
        found
        for found in server_imports()
        if found.is_of("pynvml") and found.path != ROOT / "metering" / "nvml.py"
    ]

    assert lines(strangers) == []


def test_no_code_of_ours_names_a_call_that_sets_something_of_a_card() -> None:
    text = (ROOT / "metering" / "nvml.py").read_text() + (
        ROOT / "metering" / "nvml_driver.py"
    ).read_text()

    assert not re.search(r"nvml(Device|Unit|GpuInstance|System)(Set|Reset|Clear|Create)", text)


def test_grpc_and_generated_code_stay_at_the_servers_and_in_the_client_modules() -> None:
    strangers = [
        found
        for found in server_imports()
        if found.is_of("grpc", "google", "atelier.v1", "services.internal", "protovalidate")
        and not any(found.path.is_relative_to(ROOT / server) for server in RPC_SERVERS)
        and found.path.name not in RPC_CLIENT_FILES
        and found.path not in [ROOT / server for server in RPC_SERVER_FILES]
        and not (is_sdk_reader(found.path) and found.is_of("atelier.v1"))
    ]

    assert lines(strangers) == []


def test_nobody_imports_pickle() -> None:
    pickled = [
        found
        for found in imports_of(*written_files(*SERVER_PACKAGES, "sdk", "tests", "examples"))
        if found.is_of("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve")
    ]

    assert lines(pickled) == []


def test_the_sdk_knows_nothing_of_the_servers() -> None:
    strangers = [
        found
        for found in imports_of(*written_files(str(SDK_SOURCES.relative_to(ROOT))))
        if found.is_of(*SERVER_PACKAGES)
    ]

    assert lines(strangers) == []


def test_code_that_runs_imports_nothing_of_the_tests() -> None:
    strangers = [found for found in server_imports() if found.is_of("tests")]

    assert lines(strangers) == []
