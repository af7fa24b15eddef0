"""A MariaDB server of the tests' own, from the system's package, that can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAM = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")


class Server:
    """A server in ``folder`` on a free port, with a user of its own that has a password."""

    def __init__(self, folder: Path) -> None:
        if PROGRAM is None:
            raise FileNotFoundError("MariaDB is not installed")
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder.mkdir(parents=True)
        if os.getuid() == 0:
            shutil.chown(folder, "mysql", "mysql")
        first = [
            "mariadb-install-db",
            "--no-defaults",
            "--skip-test-db",
            f"--datadir={folder}/data",
            "--auth-root-authentication-method",
        ]
        subprocess.run([*first[:-1], f"{first[-1]}=normal", *self._user], check=True, capture_output=True, timeout=120)
        self.start()
        self._tell("CREATE USER 'ann'@'%' IDENTIFIED BY 's3cret'; CREATE DATABASE chaos; GRANT ALL ON chaos.* TO 'ann'")
        self.url = f"mysql://ann:s3cret@127.0.0.1:{self.port}/chaos"

    def start(self) -> None:
        options = [f"--datadir={self.folder}/data", f"--port={self.port}", f"--socket={self._socket}"]
        options += ["--bind-address=127.0.0.1", f"--log-error={self.folder}/log", f"--pid-file={self.folder}/pid"]
        self._server = subprocess.Popen([str(PROGRAM), "--no-defaults", *options, *self._user], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while True:
            try:
                return self._tell("SELECT 1")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        """At once: connections are cut."""
        self._server.kill()
        self._server.wait()

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    @property
    def _user(self) -> list[str]:
        return ["--user=mysql"] if os.getuid() == 0 else []

    def _tell(self, what: str) -> None:
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", "--execute", what]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
