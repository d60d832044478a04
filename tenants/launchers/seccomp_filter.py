"""Our system-call profile as the program that the kernel runs: for launchers without an engine.

Docker compiles seccomp.json itself; bubblewrap wants the result. Both are of one file.
"""

import errno
import json
import tempfile
from collections.abc import Mapping
from typing import Any, Final

from tenants.launchers.container_order import SECCOMP_PROFILE
from tenants.launchers.errors import LauncherUnavailableError

_COMPARISONS: Final = {"SCMP_CMP_EQ": "EQ", "SCMP_CMP_NE": "NE", "SCMP_CMP_MASKED_EQ": "MASKED_EQ"}


def compile_filter() -> bytes:
    """Return the profile as BPF for this machine's processor.

    Raises:
        LauncherUnavailableError: there is no libseccomp here.
    """
    try:
        # It loads the C library at import, which may be missing.
        import pyseccomp  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
    except (ImportError, RuntimeError, OSError) as error:
        raise LauncherUnavailableError(
            f"The launcher `sandbox` needs libseccomp (apt-get install libseccomp2): {error}"
        ) from error
    profile: dict[str, Any] = json.loads(SECCOMP_PROFILE.read_text())
    program = pyseccomp.SyscallFilter(pyseccomp.ERRNO(profile["defaultErrnoRet"]))
    for rule in profile["syscalls"]:
        action = (
            pyseccomp.ALLOW
            if rule["action"] == "SCMP_ACT_ALLOW"
            else pyseccomp.ERRNO(rule["errnoRet"])
        )
        arguments = [_argument(pyseccomp, one) for one in rule.get("args", ())]
        for name in rule["names"]:
            _add(program, action, name, arguments)
    with tempfile.TemporaryFile() as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def _argument(library: Any, condition: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- the library has no types
    comparison = getattr(library, _COMPARISONS[condition["op"]])
    values = [condition["value"]]
    if condition["op"] == "SCMP_CMP_MASKED_EQ":
        values.append(condition["valueTwo"])
    return library.Arg(condition["index"], comparison, *values)


def _add(program: Any, action: Any, name: str, arguments: list[Any]) -> None:  # noqa: ANN401 -- the same
    try:
        program.add_rule(action, name, *arguments)
    except OSError as error:
        # A call that this processor or this library does not know cannot be made either.
        if error.errno not in {errno.EDOM, errno.EFAULT, errno.EINVAL}:
            raise
