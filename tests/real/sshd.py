"""This machine as a host: a real sshd on a free port, with keys of its own, and programs that come first there."""

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
SetEnv {environ}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where its sshd listens, and what opens it and proves it: variables as a job would have them."""

    folder: Path
    port: int
    user: str
    environ: Mapping[str, str]

    def known_by(self, name: str) -> str:
        """A line of known hosts that gives this host the key of this name."""
        return f"[127.0.0.1]:{self.port} {(self.folder / name).read_text()}"


@contextmanager
def listening(folder: Path, **environ: str) -> Iterator[Host]:
    """An sshd whose logins have these variables."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's sshd locks itself in
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = " ".join(f"{name}={value}" for name, value in environ.items())
    (folder / "sshd.conf").write_text(CONFIG.format(folder=folder, port=port, environ=told))
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd.conf")]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        said = [next(server.stderr, "")]
        while "listening" not in said[-1]:
            assert said[-1], f"sshd has ended: {said}"
            said.append(next(server.stderr, ""))
        host = Host(folder=folder, port=port, user=pwd.getpwuid(os.getuid()).pw_name, environ={})
        keys = {"SSH_KEY": (folder / "user").read_text(), "KNOWN_HOSTS": host.known_by("host.pub")}
        yield Host(folder=folder, port=port, user=host.user, environ={**os.environ, **keys})
    finally:
        server.terminate()
        server.communicate(timeout=20)
