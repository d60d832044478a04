"""The contract as descriptor sets: with the rules for the gateway, without them for everybody else.

buf/validate/validate.proto is not shipped as text by protovalidate's Python package, only as a
descriptor inside it. So protoc gets it as a descriptor set. The code customers install must not
need the validator, hence the second set without the rules and their import.
"""

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

from google.protobuf import (
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    timestamp_pb2,
)
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2  # pyright: ignore[reportMissingTypeStubs]

PROTOS_FOLDER = Path(__file__).resolve().parent
RULES_FILE = "buf/validate/validate.proto"

_WELL_KNOWN_FILES: tuple[FileDescriptor, ...] = (
    descriptor_pb2.DESCRIPTOR,
    duration_pb2.DESCRIPTOR,
    empty_pb2.DESCRIPTOR,
    field_mask_pb2.DESCRIPTOR,
    timestamp_pb2.DESCRIPTOR,
)


class ContractError(Exception):
    """The contract does not compile; the message is the compiler's."""


def contract_files() -> list[str]:
    """Name our proto files, relative to the folder they are imported from."""
    ours = (*PROTOS_FOLDER.glob("atelier/**/*.proto"), *PROTOS_FOLDER.glob("services/**/*.proto"))
    return sorted(path.relative_to(PROTOS_FOLDER).as_posix() for path in ours)


def compile_contract() -> descriptor_pb2.FileDescriptorSet:
    """Compile every proto file, with imports, rules and comments."""
    with tempfile.TemporaryDirectory() as folder:
        imported = Path(folder, "imported.binpb")
        imported.write_bytes(_imported_files().SerializeToString())
        compiled = Path(folder, "contract.binpb")
        run_protoc(
            f"--proto_path={PROTOS_FOLDER}",
            f"--descriptor_set_in={imported}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={compiled}",
            *contract_files(),
        )
        return descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())


def without_rules(contract: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """Leave out the rules and the import of what defines them."""
    bare = descriptor_pb2.FileDescriptorSet()
    for file in contract.file:
        if file.name == RULES_FILE:
            continue
        copy = bare.file.add()
        copy.CopyFrom(file)
        dependencies = [name for name in file.dependency if name != RULES_FILE]
        del copy.dependency[:]
        copy.dependency.extend(dependencies)
    # The rules are extensions of the options. This process never loads their definition, so they
    # are unknown fields here, and the only ones.
    bare.DiscardUnknownFields()
    return bare


def with_error_details(
    contract: descriptor_pb2.FileDescriptorSet,
) -> descriptor_pb2.FileDescriptorSet:
    """Add what refusals carry, for languages whose packages do not bring google.rpc."""
    wider = descriptor_pb2.FileDescriptorSet()
    wider.CopyFrom(contract)
    error_details_pb2.DESCRIPTOR.CopyToProto(wider.file.add())
    return wider


def public_part(contract: descriptor_pb2.FileDescriptorSet) -> bytes:
    """Serialize what the gateway loads: the public contract with its rules, without comments."""
    public = descriptor_pb2.FileDescriptorSet()
    for file in contract.file:
        if not file.name.startswith("services/"):
            copy = public.file.add()
            copy.CopyFrom(file)
            copy.ClearField("source_code_info")
    return public.SerializeToString(deterministic=True)


def run_protoc(*arguments: str) -> None:
    """Run the protoc that grpcio-tools brings."""
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise ContractError(finished.stderr.strip() or finished.stdout.strip())


def _imported_files() -> descriptor_pb2.FileDescriptorSet:
    files = descriptor_pb2.FileDescriptorSet()
    for descriptor in _WELL_KNOWN_FILES:
        descriptor.CopyToProto(files.file.add())
    files.file.add().MergeFromString(_rules_file())
    return files


def _rules_file() -> bytes:
    # A private name of protovalidate: there is no public one, and the version is pinned.
    module = importlib.import_module("protovalidate._gen.buf.validate.validate_pb")
    return cast("bytes", module._DESC.proto.to_binary())  # noqa: SLF001
