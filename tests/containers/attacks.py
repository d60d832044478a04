"""What a hostile worker tries, run inside its container or sandbox with the worker's own rights.

`python attacks.py TARGET` (JSON) prints one line of JSON for each attack: how it failed, or that it
SUCCEEDED. It uses what the worker's own environment holds, and the kernel directly.
"""

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)

# unistd_64.h of x86-64.
PTRACE, MOUNT, UMOUNT2, PIVOT_ROOT, UNSHARE, SETNS = 101, 165, 166, 155, 272, 308
ADD_KEY, KEYCTL, PERF_EVENT_OPEN, BPF, USERFAULTFD = 248, 250, 298, 321, 323
IO_URING_SETUP, INIT_MODULE, MKNOD, CHROOT, CLOCK_SETTIME = 425, 175, 133, 161, 227
PROCESS_VM_READV, CLONE, REBOOT, SWAPON, OPEN_BY_HANDLE_AT, KCMP = 310, 56, 169, 167, 304, 312
NEW_NAMESPACES = {
    "mount": 0x00020000,
    "control group": 0x02000000,
    "host name": 0x04000000,
    "IPC": 0x08000000,
    "user": 0x10000000,
    "process": 0x20000000,
    "network": 0x40000000,
}
PTRACE_TRACEME, PTRACE_ATTACH = 0, 16
MEMORY_STEP_BYTES = 64 * 1024 * 1024


class HeldOff(Exception):  # noqa: N818 -- it is the good end
    """An attack failed; the words say at what."""


def main() -> None:
    target = json.loads(sys.argv[1])
    for name, attack in attacks(target):
        try:
            outcome = f"SUCCEEDED: {attack()}"
        except HeldOff as held_off:
            outcome = f"failed: {held_off}"
        except OSError as error:
            outcome = f"failed: {errno.errorcode.get(error.errno or 0, error)}"
        print(json.dumps({"attack": name, "outcome": outcome}), flush=True)


def attacks(target: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    yield from on_the_network(target)
    yield from on_files(target)
    yield from on_the_recorder(target)
    yield from on_the_kernel()
    yield "fork bomb", lambda: fork_bomb(target["processes"])
    yield "memory hog", lambda: memory_hog(target["memory_bytes"])


def on_the_network(target: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    for host, port in target["services"]:
        yield f"host service {host}:{port}", lambda h=host, p=port: connect(h, p)
    yield "network interfaces", other_interfaces
    for name, family, kind in (
        ("raw socket", socket.AF_INET, socket.SOCK_RAW),
        ("packet socket", socket.AF_PACKET, socket.SOCK_RAW),
        ("netlink socket", socket.AF_NETLINK, socket.SOCK_RAW),
        ("raw socket of IPv6", socket.AF_INET6, socket.SOCK_RAW),
        ("vsock to the host", socket.AF_VSOCK, socket.SOCK_STREAM),
    ):
        yield name, lambda f=family, k=kind: socket.socket(f, k)
    for path in target["foreign_sockets"]:
        yield f"foreign socket {path}", lambda p=path: connect_unix(p)


def on_files(target: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    for path in target["foreign_paths"]:
        yield f"foreign path {path}", lambda p=path: look_into(p)
        yield f"foreign path by process 1 {path}", lambda p=path: look_into(f"/proc/1/root{p}")
    own = target["tenant_directory"]
    for path in ("/", "/etc", "/usr/bin", target["code"], target["model"], own, "/run", "/dev"):
        yield f"writing to {path}", lambda p=path: write_new(p)
    yield "unlinking the broker's socket", lambda: os.unlink(f"{own}/broker.sock")
    yield "loosening its own directory", lambda: os.chmod(own, 0o777)
    for path in (
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sysrq-trigger",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/pids/pids.max",
    ):
        yield f"writing {path}", lambda p=path: write_over(p)
    for path in target["foreign_devices"]:
        yield f"another tenant's device {path}", lambda p=path: open(p, "rb").close() or "opened"
        yield f"making {path}", lambda: syscall(MKNOD, b"/tmp/device", 0o20666, 0x0105)
    yield "processes of others", foreign_processes
    yield "secrets in the environment", secrets_in_environment


def on_the_recorder(target: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    own = target["tenant_directory"]
    image = target["foreign_image"]
    yield "finishing another tenant's image", lambda: finish_foreign(own, image)
    yield (
        "reading another tenant's picture",
        lambda: read_foreign(own, target["foreign_tenant"], image),
    )
    yield "writing energy segments", lambda: record_segments(own)
    yield "stopping its own broker", lambda: stop_broker(own)
    yield "making its broker read files", lambda: broker_reads_files(own)


def on_the_kernel() -> Iterator[tuple[str, Callable[[], object]]]:
    for name, flag in NEW_NAMESPACES.items():
        yield f"unshare of a {name} namespace", lambda f=flag: syscall(UNSHARE, f)
        yield f"clone into a {name} namespace", lambda f=flag: syscall(CLONE, f | 17, 0, 0, 0, 0)
    yield "setns into process 1's network", lambda: enter_namespace("/proc/1/ns/net")
    yield "mount", lambda: syscall(MOUNT, b"none", b"/tmp", b"tmpfs", 0, 0)
    yield "making root writable", lambda: syscall(MOUNT, 0, b"/", 0, 32, 0)
    yield "unmount of /proc", lambda: syscall(UMOUNT2, b"/proc", 2)
    yield "pivot_root", lambda: syscall(PIVOT_ROOT, b"/tmp", b"/tmp")
    yield "chroot", lambda: syscall(CHROOT, b"/tmp")
    yield "ptrace of its parent", lambda: syscall(PTRACE, PTRACE_ATTACH, os.getppid() or 1, 0, 0)
    yield "ptrace of process 1", lambda: syscall(PTRACE, PTRACE_ATTACH, 1, 0, 0)
    yield "letting itself be traced", lambda: syscall(PTRACE, PTRACE_TRACEME, 0, 0, 0)
    yield "reading process 1's memory", lambda: syscall(PROCESS_VM_READV, 1, 0, 0, 0, 0, 0)
    yield "adding a kernel key", lambda: syscall(ADD_KEY, b"user", b"a", b"b", 1, -3)
    yield "joining a kernel keyring", lambda: syscall(KEYCTL, 1, 0)
    yield "bpf", lambda: syscall(BPF, 0, 0, 0)
    yield "perf_event_open", lambda: syscall(PERF_EVENT_OPEN, 0, 0, -1, -1, 0)
    yield "userfaultfd", lambda: syscall(USERFAULTFD, 0)
    yield "io_uring", lambda: syscall(IO_URING_SETUP, 1, bytes(120))
    yield "loading a kernel module", lambda: syscall(INIT_MODULE, 0, 0, b"")
    yield "setting the clock", lambda: syscall(CLOCK_SETTIME, 0, bytes(16))
    yield "reboot", lambda: syscall(REBOOT, 0xFEE1DEAD, 672274793, 0, 0)
    yield "swapon", lambda: syscall(SWAPON, b"/tmp/x", 0)
    yield "opening files by handle", lambda: syscall(OPEN_BY_HANDLE_AT, -100, bytes(32), 0)
    yield "becoming root", lambda: os.setuid(0) or "is root"
    yield "joining the group root", lambda: os.setgid(0) or "is in it"
    yield "dropping its groups", lambda: os.setgroups([0]) or "is in root's"
    yield "a set-user-ID program", set_user_id_program
    yield "a higher priority", lambda: os.nice(-10)


def syscall(number: int, *arguments: object) -> object:
    answer = libc.syscall(ctypes.c_long(number), *(_word(one) for one in arguments))
    if answer == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if number == CLONE and answer == 0:
        os._exit(0)
    return answer


def _word(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def connect(host: str, port: int) -> str:
    with socket.socket() as connection:
        connection.settimeout(2)
        connection.connect((host, port))
    return "connected"


def connect_unix(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(path)
    return "connected"


def other_interfaces() -> str:
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    names = {line.partition(":")[0].strip() for line in lines} - {"lo"}
    if not names:
        raise HeldOff("only its own loopback")
    return ", ".join(sorted(names))


def look_into(path: str) -> str:
    return f"{len(os.listdir(path))} names"


def write_new(folder: str) -> str:
    path = Path(folder) / f"hostile-{os.getpid()}"
    path.write_text("hostile")
    path.unlink()
    return "written"


def write_over(path: str) -> str:
    with open(path, "r+") as file:
        file.write("1")
    return "written"


def foreign_processes() -> str:
    owners: dict[str, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                owners[folder.name] = folder.stat().st_uid
    if set(owners.values()) <= {os.getuid()} and len(owners) < 100:
        raise HeldOff(f"it sees {len(owners)} processes, all its own")
    return str(owners)


def secrets_in_environment() -> str:
    suspicious = [
        name
        for name in os.environ
        if any(word in name for word in ("PASSWORD", "SECRET", "DATABASE", "KEY", "DOCKER"))
    ]
    if not suspicious:
        raise HeldOff("nothing there")
    return ", ".join(suspicious)


def finish_foreign(own: str, image: str) -> str:
    import grpc
    from services.internal.v1 import recorder_pb2 as wire

    def parts() -> Iterator[Any]:
        attempt = wire.Attempt(image_id=image, attempt=1, claim_token="0" * 32)
        outcome = wire.ATTEMPT_OUTCOME_FAILED
        yield wire.FinishImageRequest(
            attempt=wire.FinishedAttempt(
                attempt=attempt, outcome=outcome, failure_reason="ENGINE_FAILED", gpu_id="cpu-0"
            )
        )

    with recorder(own) as stub:
        try:
            answer = stub.FinishImage(parts(), timeout=10)
        except grpc.RpcError as error:
            raise HeldOff(error.code().name) from error
    if not answer.accepted:
        raise HeldOff("not accepted")
    return "accepted"


def read_foreign(own: str, tenant: str, image: str) -> str:
    import grpc
    from services.internal.v1 import recorder_pb2 as wire

    with recorder(own) as stub:
        try:
            list(
                stub.ReadPicture(
                    wire.ReadPictureRequest(tenant_id=tenant, image_id=image), timeout=10
                )
            )
        except grpc.RpcError as error:
            raise HeldOff(error.code().name) from error
    return "read"


def record_segments(own: str) -> str:
    import grpc
    from services.internal.v1 import recorder_pb2 as wire

    with recorder(own) as stub:
        try:
            stub.RecordSegments(wire.RecordSegmentsRequest(), timeout=10)
        except grpc.RpcError as error:
            raise HeldOff(error.code().name) from error
    return "recorded"


@contextlib.contextmanager
def recorder(own: str) -> Generator[Any]:
    import grpc
    from services.internal.v1 import recorder_pb2_grpc

    with grpc.insecure_channel(f"unix:{own}/recorder.sock") as channel:
        yield recorder_pb2_grpc.RecorderServiceStub(channel)


def stop_broker(own: str) -> str:
    return ask_broker(own, b"SHUTDOWN NOSAVE\r\n")


def broker_reads_files(own: str) -> str:
    return ask_broker(own, b"CONFIG SET dir /etc\r\n")


def ask_broker(own: str, command: bytes) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(f"{own}/broker.sock")
        connection.sendall(command)
        answer = connection.recv(200)
    if answer.startswith(b"-"):
        raise HeldOff(answer.decode().strip())
    return repr(answer)


def enter_namespace(path: str) -> object:
    return syscall(SETNS, os.open(path, os.O_RDONLY), 0)


def set_user_id_program() -> str:
    for program in ("/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/mount"):
        if os.path.exists(program) and os.stat(program).st_mode & 0o4000:
            break
    else:
        raise HeldOff("there is none")
    if "NoNewPrivs:\t1" in Path("/proc/self/status").read_text():
        raise HeldOff("no new privileges")
    return program


def fork_bomb(limit: int) -> str:
    children: list[int] = []
    try:
        while len(children) < 2 * limit:
            if (child := os.fork()) == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    except OSError as error:
        raise HeldOff(f"{errno.errorcode[error.errno or 0]} after {len(children)}") from error
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
    return f"{len(children)} processes"


def memory_hog(limit: int) -> str:
    if (child := os.fork()) == 0:
        held: list[bytes] = []
        while len(held) * MEMORY_STEP_BYTES < 2 * limit:
            held.append(b"\x01" * MEMORY_STEP_BYTES)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise HeldOff(f"killed by signal {os.WTERMSIG(status)}")
    if os.WEXITSTATUS(status) != 0:
        raise HeldOff("it got no more memory")
    return "got twice its limit"


if __name__ == "__main__":
    main()
