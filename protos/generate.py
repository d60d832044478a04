"""Generate the code of the contract: `python protos/generate.py [--check]`.

From the protos in this folder come

* sdk/python/src/atelier/v1/: what customers and the gateway use, without the validation rules;
* sdk/typescript/src/contract/: the same for TypeScript, where npm is;
* services/internal/v1/: the contracts between our own processes;
* services/gateway/contract.binpb: the public contract with its rules, which the gateway enforces.

All of it is committed. With --check nothing is written; a difference is an error.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from contract_sets import (
    PROTOS_FOLDER,
    ContractError,
    compile_contract,
    contract_files,
    public_part,
    run_protoc,
    with_error_details,
    without_rules,
)
from google.protobuf import descriptor_pb2

ROOT = PROTOS_FOLDER.parent
# Top folder of a proto file → where its Python package is rooted.
PACKAGE_ROOTS = {"atelier": "sdk/python/src", "services": "."}
GATEWAY_SET = "services/gateway/contract.binpb"
# The stubs call each method of a servicer abstract. It is not: one that is left out answers
# UNIMPLEMENTED, and a servicer must be allowed to leave it out.
ABSTRACT_MARK = b"    @_abc_1.abstractmethod\n"
GENERATED_SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
TYPESCRIPT_FOLDER = "sdk/typescript/src/contract"
TYPESCRIPT_PLUGIN = ROOT / "sdk/typescript/node_modules/.bin/protoc-gen-es"


def main() -> int:
    """Generate, or compare with what is committed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    arguments = parser.parse_args()

    try:
        generated = generate()
    except ContractError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.check:
        return report_differences(generated)
    write(generated)
    print(f"{len(generated)} files generated")
    return 0


def generate() -> dict[str, bytes]:
    """Make every generated file: path relative to the repository's root → content."""
    contract = compile_contract()
    files = {GATEWAY_SET: public_part(contract)}
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.binpb")
        bare.write_bytes(without_rules(contract).SerializeToString(deterministic=True))
        for top, package_root in PACKAGE_ROOTS.items():
            output = Path(folder, top)
            output.mkdir()
            names = [name for name in contract_files() if name.startswith(f"{top}/")]
            _generate_messages(bare, output, names)
            services = {file.name for file in contract.file if file.service}
            _generate_services(bare, output, [name for name in names if name in services])
            for path in sorted(file for file in output.rglob("*") if file.is_file()):
                relative = Path(package_root, path.relative_to(output)).as_posix()
                files[relative] = path.read_bytes().replace(ABSTRACT_MARK, b"")
        if typescript_is_generated():
            files |= _typescript_files(contract, Path(folder))
    return files


def typescript_is_generated() -> bool:
    """Tell whether TypeScript is generated here: without npm it is left as it is, and said so.

    Raises:
        ContractError: npm is here, and what it should have installed is not.
    """
    if TYPESCRIPT_PLUGIN.exists():
        return True
    if shutil.which("npm") is not None:
        raise ContractError("protoc-gen-es is missing: run `make setup`")
    print("npm is not here: the TypeScript of the contract is neither made nor checked")
    return False


def report_differences(generated: dict[str, bytes]) -> int:
    """Name what is committed and not generated so, on the standard error."""
    existing = existing_files()
    wrong = sorted(
        name
        for name in generated.keys() | existing
        if name not in generated or _read(name) != generated[name]
    )
    for name in wrong:
        print(f"{name} is not what protos/ gives: run `make protos`", file=sys.stderr)
    return 1 if wrong else 0


def write(generated: dict[str, bytes]) -> None:
    """Write what changed, remove what is no longer generated."""
    for name in existing_files() - generated.keys():
        (ROOT / name).unlink()
    for name, content in generated.items():
        if _read(name) != content:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_bytes(content)


def existing_files() -> set[str]:
    """Find generated files in the working tree, also of protos that are gone."""
    folders = (ROOT / "sdk/python/src/atelier/v1", ROOT / "services/internal")
    found = [
        path
        for folder in folders
        for path in folder.rglob("*_pb2*.py*")
        if path.name.endswith(GENERATED_SUFFIXES)
    ]
    if TYPESCRIPT_PLUGIN.exists():
        found += (ROOT / TYPESCRIPT_FOLDER).rglob("*_pb.ts")
    return {path.relative_to(ROOT).as_posix() for path in found}


def _generate_messages(descriptor_set: Path, output: Path, names: list[str]) -> None:
    run_protoc(
        f"--descriptor_set_in={descriptor_set}",
        f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
        f"--python_out={output}",
        f"--mypy_out=quiet:{output}",
        *names,
    )


def _generate_services(descriptor_set: Path, output: Path, names: list[str]) -> None:
    run_protoc(
        f"--descriptor_set_in={descriptor_set}",
        f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
        f"--grpc_python_out={output}",
        f"--mypy_grpc_out=quiet:{output}",
        *names,
    )


def _typescript_files(contract: descriptor_pb2.FileDescriptorSet, folder: Path) -> dict[str, bytes]:
    bare = folder / "typescript.binpb"
    output = folder / "typescript"
    output.mkdir()
    public = with_error_details(without_rules(contract))
    bare.write_bytes(public.SerializeToString(deterministic=True))
    ours = [file.name for file in public.file if file.name.startswith(("atelier/", "google/rpc/"))]
    run_protoc(
        f"--descriptor_set_in={bare}",
        f"--plugin=protoc-gen-es={TYPESCRIPT_PLUGIN}",
        "--es_opt=target=ts,import_extension=js",
        f"--es_out={output}",
        *ours,
    )
    return {
        f"{TYPESCRIPT_FOLDER}/{path.relative_to(output).as_posix()}": path.read_bytes()
        for path in sorted(output.rglob("*.ts"))
    }


def _plugin(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ContractError(f"{name} is missing: run `make setup`")
    return found


def _read(name: str) -> bytes | None:
    path = ROOT / name
    return path.read_bytes() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
