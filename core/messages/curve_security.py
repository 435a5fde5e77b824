# SPDX-License-Identifier: GPL-3.0-or-later
"""CURVE keys for sockets that can be reached from other machines."""

from __future__ import annotations

import os
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from ..errors import UserError
from .addresses import is_loopback

MAKE_KEYS = "make the keys anew as docs/serving.md says (Keys)"


class Security:
    """CURVE for addresses beyond loopback; keys are files in one folder, the same on every machine of a run.

    The server proves that it has ``server.key_secret``, and lets in who has the secret of a public key in the folder.
    """

    def __init__(self, host: str, keys: str, option: str = "stream.keys") -> None:
        if not keys and not is_loopback(host):
            raise UserError(
                f"The address {host or repr(host)} can be reached from other machines: use 127.0.0.1, which they can "
                f"reach through an SSH tunnel, or give {option} a folder with keys; no command of ours makes one yet, "
                "docs/serving.md says how (Keys)"
            )
        self.host = host
        self.folder = Path(keys) if keys else None
        self._authenticator: ThreadAuthenticator | None = None

    @staticmethod
    def create_keys(folder: str | os.PathLike[str]) -> None:
        """Make the key pairs ``server`` and ``client`` in ``folder``, readable by their owner alone."""
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("server", "client"):
            zmq.auth.create_certificates(folder, name)
            os.chmod(Path(folder) / f"{name}.key_secret", 0o600)

    def start(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Begin to check clients; for the side that binds.

        Raises:
            UserError: if the folder has no keys of a server.
        """
        if self.folder is not None:
            self._pair("server")
            self._authenticator = ThreadAuthenticator(context)
            self._authenticator.start()
            self._authenticator.configure_curve(domain="*", location=self.folder)

    def stop(self) -> None:
        """End the checking thread."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None

    def server(self, socket: zmq.Socket[bytes]) -> None:
        """Prepare a socket that will bind."""
        socket.ipv6 = ":" in self.host
        if self.folder is not None:
            socket.curve_publickey, socket.curve_secretkey = self._pair("server")
            socket.curve_server = True

    def client(self, socket: zmq.Socket[bytes]) -> None:
        """Prepare a socket that will connect."""
        socket.ipv6 = ":" in self.host
        if self.folder is not None:
            socket.curve_publickey, socket.curve_secretkey = self._pair("client")
            socket.curve_serverkey = self._load("server.key")[0]

    def _pair(self, name: str) -> tuple[bytes, bytes]:
        assert self.folder is not None
        public, secret = self._load(f"{name}.key_secret")
        if secret is None:
            raise UserError(f"{self.folder / f'{name}.key_secret'} holds no secret key: {MAKE_KEYS}")
        return public, secret

    def _load(self, name: str) -> tuple[bytes, bytes | None]:
        assert self.folder is not None
        try:
            return zmq.auth.load_certificate(self.folder / name)
        except (OSError, ValueError) as problem:
            raise UserError(f"The key file {self.folder / name} can't be read: {MAKE_KEYS}") from problem
