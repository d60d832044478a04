"""Check the contract: `python protos/check_contract.py [--against FILE]`.

Three checks: the generated code is what the protos give; buf finds nothing to say about their
style; and nothing in the public contract breaks a client that was built with the baseline.

The baseline is protos/baseline.binpb, the public contract as it was last promised to customers. It
is a file and not a commit, so that the check says the same in a shallow clone, on a branch and on
main. Additions need no new baseline. A wanted break does: `--accept` writes it, and the changelog
tells customers what to change.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import generate
from contract_sets import PROTOS_FOLDER, ContractError, compile_contract, public_part

BASELINE = PROTOS_FOLDER / "baseline.binpb"
BUF_CONFIGURATION = PROTOS_FOLDER / "buf.yaml"


def main() -> int:
    """Run the checks; all of them, even when one fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, default=BASELINE, help="another baseline")
    parser.add_argument("--accept", action="store_true", help="make the contract the baseline")
    arguments = parser.parse_args()

    try:
        contract = compile_contract()
        unchanged = generate.report_differences(generate.generate())
    except ContractError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.accept:
        BASELINE.write_bytes(public_part(contract))

    buf = find_buf()
    if buf is None:
        print("buf is not installed (npm is needed): style and compatibility are NOT checked")
        return unchanged
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder, "contract.binpb")
        compiled.write_bytes(contract.SerializeToString())
        against = ("--against", str(arguments.against), "--against-config", str(BUF_CONFIGURATION))
        layout = run_buf(buf, "format", PROTOS_FOLDER, "--diff", "--exit-code")
        style = run_buf(buf, "lint", compiled)
        compatibility = run_buf(buf, "breaking", compiled, *against)
    return unchanged or layout or style or compatibility


def find_buf() -> str | None:
    """Find the buf of `make setup`, or one on the path."""
    installed = PROTOS_FOLDER / "node_modules" / ".bin" / "buf"
    return str(installed) if installed.exists() else shutil.which("buf")


def run_buf(buf: str, check: str, subject: Path, *arguments: str) -> int:
    """Run one check of buf; what it finds goes to the standard output."""
    command = [buf, check, str(subject), "--config", str(BUF_CONFIGURATION), *arguments]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
