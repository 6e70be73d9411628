"""Flower's own processes, as on several machines, on this one's loopback."""

import csv
import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROGRAMS = Path(sys.executable).parent
PACKAGE = Path(__file__).parents[1]


class Machines:
    """A server and sites, with certificates and keys that were made for them.

    Args:
        folder: for what they write; each has a folder of its own there.
    """

    def __init__(self, folder):
        self.folder, self.running, self.nodes = folder, {}, {}
        self.port = free_port()
        for name in ("server", "site0", "site1"):
            (folder / name).mkdir()
        write_certificates(folder / "server")
        (folder / "server" / "config.toml").write_text(
            '[superlink]\ndefault = "ours"\n[superlink.ours]\n'
            f'address = "localhost:{self.port}"\n'
            f'root-certificates = "{folder / "server" / "ca.crt"}"\n'
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for name in [*self.running]:
            self.kill(name)

    def environment(self, name):
        """Return what keeps a machine's programs in its folder, and offline."""
        return os.environ | {
            "FLWR_HOME": str(self.folder / name),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PYTHONPATH": str(PACKAGE),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "COLUMNS": "300",
        }

    def start(self, name, program, *options):
        """Start a program on a machine, which ends with the context."""
        with self.log(name).open("a") as log:
            self.running[name] = subprocess.Popen(
                [PROGRAMS / program, *options],
                cwd=self.folder / name,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self, name):
        """Return the file with what a machine's program says."""
        return self.folder / f"{name}.log"

    def start_server(self):
        """Start Flower's server with TLS, which lets registered keys in."""
        self.start(
            "server",
            "flower-superlink",
            *("--port", str(self.port), "--enable-supernode-auth"),
            *("--ssl-ca-certfile", "ca.crt", "--ssl-certfile", "server.crt"),
            *("--ssl-keyfile", "server.key"),
            "--disable-runtime-dependency-installation",
        )
        until(lambda: answers(self.port), 60, self.log("server"))

    def register(self, name):
        """Let a site's key in; return the number of its node."""
        write_key(self.folder / name)
        key = self.folder / name / "key.pub"
        said = self.flwr("supernode", "register", str(key), "ours")
        return said["node-id"]

    def start_site(self, number):
        """Start a site with its key and its own folder of data."""
        name = f"site{number}"
        data = self.folder / name / "data"
        self.start(
            name,
            "flower-supernode",
            *("--superlink", f"localhost:{self.port}"),
            *("--root-certificates", str(self.folder / "server" / "ca.crt")),
            *("--auth-supernode-private-key", "key"),
            *("--port", str(free_port())),
            *("--node-config", f'partition-id={number} data-dir="{data}"'),
        )

    def flwr(self, *arguments):
        """Return what Flower's command says, which has to succeed."""
        done = subprocess.run(
            [PROGRAMS / "flwr", *arguments, "--format", "json"],
            env=self.environment("server"),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["success"], found
        return found

    def run(self, app):
        """Start a run; return its number."""
        return self.flwr("run", str(app), "ours")["run-id"]

    def wait(self, run, seconds=600):
        """Wait until a run has ended; return how, and what it said."""

        def status():
            (found,) = self.flwr("list", "ours", "--run-id", run)["runs"]
            return found["status"]

        until(lambda: "finished" in status(), seconds, self.log("server"))
        said = subprocess.run(
            [PROGRAMS / "flwr", "log", run, "ours", "--show"],
            env=self.environment("server"),
            capture_output=True,
            text=True,
            timeout=120,
        )
        return status(), said.stdout

    def kill(self, name):
        """End a machine's program as a power cut does."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)

    def kill_server_app(self):
        """End the process in which a run is, and not Flower's server."""
        found = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if is_server_app(path, self.port)
        ]
        assert found, "no process of a run"
        for number in found:
            os.kill(number, signal.SIGKILL)


def is_server_app(path, port):
    """Say whether a process is the one in which a server's run is."""
    try:
        words = path.read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False
    program = any(word.endswith(b"flwr-serverapp") for word in words)
    return program and any(word.endswith(b":%d" % port) for word in words)


def rounds_of(workdir):
    """Return each round's rows of `clients.csv`, by stage and round."""
    path, found = workdir / "clients.csv", {}
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                rows = found.setdefault((row["stage"], int(row["round"])), {})
                rows[row["client"]] = row
    return found


def until(true, seconds, log):
    """Wait until something is so, or fail with the end of a log."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(log.read_text()[-5000:])
        time.sleep(2)


def answers(port):
    """Say whether a program listens at a port."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    """Return a port that no program listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def write_key(folder):
    """Write a site's key as `ssh-keygen -t ecdsa -b 384` does."""
    key = ec.generate_private_key(ec.SECP384R1())
    (folder / "key").write_bytes(private(key, "OpenSSH"))
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    (folder / "key.pub").write_bytes(key.public_key().public_bytes(*form))


def write_certificates(folder):
    """Write an authority's certificate, and of it one for `localhost`."""
    authority = ec.generate_private_key(ec.SECP384R1())
    key = ec.generate_private_key(ec.SECP384R1())
    issuer, subject = named("authority"), named("localhost")
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment"),
            *("data_encipherment", "key_agreement", "crl_sign"),
            *("encipher_only", "decipher_only"),
        ),
        False,
    )
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    for name, own, whose, extensions in (
        (
            *("ca.crt", authority, issuer),
            [
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (x509.KeyUsage(**usage, key_cert_sign=True), True),
            ],
        ),
        (
            *("server.crt", key, subject),
            [
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (x509.SubjectAlternativeName(names), False),
            ],
        ),
    ):
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(
            issuer_name=issuer,
            subject_name=whose,
            public_key=own.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        of = authority.public_key()
        extensions += [
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(of), False),
            (
                x509.SubjectKeyIdentifier.from_public_key(own.public_key()),
                False,
            ),
        ]
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        signed = made.sign(authority, hashes.SHA384())
        pem = signed.public_bytes(serialization.Encoding.PEM)
        (folder / name).write_bytes(pem)
    (folder / "server.key").write_bytes(private(key, "PKCS8"))


def private(key, form):
    """Return a private key as it is written to a file."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.NoEncryption(),
    )


def named(name):
    """Return the name of whom a certificate is."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
