"""Providers for the conformance suite, each with the means to take it away, slow it down, kill it and restore it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import gcp_stub
import hvac
import pkcs11
import pytest
import requests
from aws_stub import AwsStub
from azure_stub import AzureStub
from botocore.httpsession import URLLib3Session
from gcp_stub import GcpStub
from rest_stub import RestStub

from lethe.keys.providers.aws import AwsProvider
from lethe.keys.providers.azure import AzureProvider
from lethe.keys.providers.gcp import GcpProvider
from lethe.keys.providers.interface import KeyProvider
from lethe.keys.providers.local import LocalProvider
from lethe.keys.providers.pkcs11 import Pkcs11Provider
from lethe.keys.providers.vault import VaultProvider
from lethe.testing.brokers.process import free_ports

Hook = Callable[..., Any]
PATIENT = 30
"""Seconds a stub's answer is waited for: on a busy machine it takes that long to make an RSA key."""
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Rig:
    """What the suite needs of a provider and its surroundings."""

    name: str
    never_comes_back = False
    """What was destroyed stays destroyed even when the provider's own backup is restored (it keeps no such backup)."""

    def provider(self) -> KeyProvider:
        """A provider as a process that has just started has it."""
        raise NotImplementedError

    def stepping(self, hook: Hook) -> Any:
        """Context in which each low-level step runs as `hook(step, *arguments)`."""
        raise NotImplementedError

    def outage(self) -> Any:
        """Context in which the provider does not answer."""
        raise NotImplementedError

    def backup(self) -> None:
        """Copy all that the provider keeps."""
        raise NotImplementedError

    def restore(self) -> None:
        """Put the copy in the place of what the provider keeps."""
        raise NotImplementedError

    def elapse(self) -> None:
        """Let the time pass in which a destruction could be taken back."""

    def section(self) -> dict[str, Any]:
        """The provider as a section of the settings names it."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What another process needs in its environment to reach the provider."""
        return {}

    def delete(self, key_id: str) -> None:
        """Have somebody else delete a key, in the way of those who use the provider; it may be brought back."""
        raise NotImplementedError

    def purge(self, key_id: str) -> None:
        """Let what was deleted be gone for good."""

    def close(self) -> None:
        """End what was started."""


@contextmanager
def patched(owner: Any, names: tuple[str, ...], hook: Hook) -> Iterator[None]:
    """Run the named functions of a module, or methods of a class, through a hook."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            real = getattr(owner, name)
            patch.setattr(owner, name, lambda *args, _real=real, **kw: hook(_real, *args, **kw))
        yield


class LocalRig(Rig):
    name = "local"

    def __init__(self, home: Path) -> None:
        self._directory, self._copy = home / "keys", home / "copy"
        LocalProvider.initialise(self._directory)

    def provider(self) -> KeyProvider:
        return LocalProvider(self._directory)

    def stepping(self, hook: Hook) -> Any:
        return patched(os, ("open", "link", "unlink", "fsync"), hook)

    @contextmanager
    def outage(self) -> Iterator[None]:
        def fail(*_: Any, **__: Any) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with patched(os, ("open", "scandir", "link"), fail), patched(Path, ("exists",), fail):
            yield

    def backup(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._directory, self._copy)

    def restore(self) -> None:
        shutil.rmtree(self._directory)
        shutil.copytree(self._copy, self._directory)
        self._directory.chmod(0o700)

    def section(self) -> dict[str, Any]:
        return {"kind": "local", "directory": str(self._directory)}

    def delete(self, key_id: str) -> None:
        (self._directory / f"{key_id}.key").unlink()


class Pkcs11Rig(Rig):
    name = "softhsm2"
    _used = False

    def __init__(self, home: Path) -> None:
        if not SOFTHSM.exists():
            pytest.fail("SoftHSM2 is needed for the tests: apt-get install softhsm2", pytrace=False)
        # The module reads its configuration once in a process: one rig at a time is all there can be.
        assert not Pkcs11Rig._used
        Pkcs11Rig._used = True
        self._tokens, self._copy, self.pin = home / "tokens", home / "copy", home / "pin"
        self._tokens.mkdir()
        self.pin.write_text("2468\n")
        (home / "softhsm2.conf").write_text(
            f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        os.environ["SOFTHSM2_CONF"] = str(home / "softhsm2.conf")
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", "lethe", "--so-pin", "1357", "--pin", "2468"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def provider(self) -> KeyProvider:
        return Pkcs11Provider(SOFTHSM, "lethe", self.pin, utc_now)

    def session(self) -> Any:
        """A session of somebody else's, logged in."""
        token = pkcs11.lib(str(SOFTHSM)).get_token(token_label="lethe")
        try:
            return token.open(rw=True, user_pin="2468")
        except pkcs11.exceptions.UserAlreadyLoggedIn:
            return token.open(rw=True)

    @contextmanager
    def stepping(self, hook: Hook) -> Iterator[None]:
        real = Pkcs11Provider._logged_in
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pkcs11Provider, "_logged_in", lambda provider: _Steps(hook(real, provider), hook))
            yield

    def outage(self) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise pkcs11.exceptions.DeviceError

        return self.stepping(fail)

    def backup(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._tokens, self._copy)

    def restore(self) -> None:
        shutil.rmtree(self._tokens)
        shutil.copytree(self._copy, self._tokens)
        pkcs11.lib(str(SOFTHSM)).reinitialize()

    def section(self) -> dict[str, Any]:
        return {"kind": "pkcs11", "module": str(SOFTHSM), "token": "lethe", "pin_file": str(self.pin)}

    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"]}

    def delete(self, key_id: str) -> None:
        with self.session() as session:
            for key in list(session.get_objects({pkcs11.Attribute.LABEL: f"lethe {key_id}"})):
                key.destroy()

    def close(self) -> None:
        Pkcs11Rig._used = False
        pkcs11.unload(str(SOFTHSM))


class _Steps:
    """A session or a key, each call to which goes through a hook."""

    def __init__(self, target: Any, hook: Hook) -> None:
        self._target, self._hook = target, hook

    def __getitem__(self, attribute: Any) -> Any:
        return self._target[attribute]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found
        if name == "get_objects":
            found = partial(_listed, found)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = self._hook(found, *args, **kwargs)
            return [_Steps(r, self._hook) for r in result] if isinstance(result, list) else result

        return call


def _listed(function: Callable[..., Any], *args: Any) -> list[Any]:
    return list(function(*args))


class VaultRig(Rig):
    name = "openbao"

    def __init__(self, home: Path) -> None:
        self._home, self._data = home, home / "data"
        self._data.mkdir()
        listening, cluster = free_ports(2)
        self.url = f"http://127.0.0.1:{listening}"
        (home / "bao.hcl").write_text(
            f'storage "raft" {{ path = "{self._data}"\n node_id = "one" }}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "http://127.0.0.1:{cluster}"\n'
            f'listener "tcp" {{ address = "127.0.0.1:{listening}"\n tls_disable = true }}\n'
        )
        self._start()
        try:
            self._set_up()
        except BaseException:
            self._stop()
            raise

    def _set_up(self) -> None:
        made = self.client.sys.initialize(1, 1)
        self._unseal = made["keys"][0]
        (self._home / "token").write_text(made["root_token"] + "\n")
        self.client.token = made["root_token"]
        self.client.sys.submit_unseal_key(self._unseal)
        self._await_active()
        self.client.sys.enable_secrets_engine("transit")

    def provider(self) -> KeyProvider:
        return VaultProvider(self.url, self._home / "token", utc_now, timeout=2)

    def stepping(self, hook: Hook) -> Any:
        return patched(requests.Session, ("send",), hook)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The worst kind: connections are accepted and never answered."""
        self._server.send_signal(signal.SIGSTOP)
        os.waitpid(
            self._server.pid, os.WUNTRACED
        )  # until it has stopped: under load it answers a little longer
        try:
            yield
        finally:
            self._server.send_signal(signal.SIGCONT)

    def backup(self) -> None:
        self._snapshot = self.client.sys.take_raft_snapshot().content

    def restore(self) -> None:
        self.client.sys.force_restore_raft_snapshot(self._snapshot)
        self.client.sys.submit_unseal_key(self._unseal)
        self._await_active()

    def section(self) -> dict[str, Any]:
        return {"kind": "vault", "url": self.url, "token_file": str(self._home / "token")}

    def delete(self, key_id: str) -> None:
        transit = self.client.secrets.transit
        transit.update_key_configuration(f"lethe.{key_id}", deletion_allowed=True)
        transit.delete_key(f"lethe.{key_id}")

    def close(self) -> None:
        self._stop()

    def _start(self) -> None:
        binary = Path(sys.executable).parent / "bao"
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(binary), "server", f"-config={self._home / 'bao.hcl'}"], stdout=log, stderr=log
            )
        self.client = hvac.Client(url=self.url, timeout=60)
        until = time.monotonic() + 120
        while True:
            try:
                self.client.sys.read_seal_status()
                break
            except requests.RequestException:
                if self._server.poll() is not None or time.monotonic() > until:
                    self._stop()
                    pytest.fail((self._home / "log").read_text(), pytrace=False)
                time.sleep(0.05)

    def _await_active(self) -> None:
        until = time.monotonic() + 120
        while requests.get(f"{self.url}/v1/sys/health", timeout=60).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.05)

    def _stop(self) -> None:
        self._server.terminate()
        self._server.wait(120)


class AwsRig(Rig):
    name = "aws"
    never_comes_back = True

    def __init__(self, _: Path) -> None:
        self.stub = AwsStub()
        os.environ.update(AWS_ACCESS_KEY_ID="stub", AWS_SECRET_ACCESS_KEY="stub")

    def provider(self, timeout: int = PATIENT) -> KeyProvider:
        return AwsProvider("eu-central-1", utc_now, endpoint_url=self.stub.url, timeout=timeout)

    def stepping(self, hook: Hook) -> Any:
        return patched(URLLib3Session, ("send",), hook)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.stub.away = True
        try:
            yield
        finally:
            self.stub.away = False

    def backup(self) -> None:
        """KMS gives no copy of a key."""

    def restore(self) -> None:
        """KMS takes no copy of a key."""

    def section(self) -> dict[str, Any]:
        return {"kind": "aws", "region": "eu-central-1", "endpoint_url": self.stub.url}

    def environment(self) -> dict[str, str]:
        return dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "stub")

    def delete(self, key_id: str) -> None:
        self.stub.on_ScheduleKeyDeletion({"KeyId": self.stub.aliases[self._alias(key_id)]})

    def purge(self, key_id: str) -> None:
        del self.stub.keys[self.stub.aliases.pop(self._alias(key_id))]

    def _alias(self, key_id: str) -> str:
        return f"alias/lethe/{key_id.replace('.', '_d')}"

    def close(self) -> None:
        self.stub.close()


class RestRig(Rig):
    """A service reached over plain HTTPS, as its stub plays it."""

    never_comes_back = True
    stub: RestStub

    def stepping(self, hook: Hook) -> Any:
        return patched(urllib.request, ("urlopen",), hook)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.stub.away = True
        try:
            yield
        finally:
            self.stub.away = False

    def backup(self) -> None:
        """The rights to copy a key are nobody's."""

    def restore(self) -> None:
        """The rights to bring a key back are nobody's."""

    def close(self) -> None:
        self.stub.close()


class GcpRig(RestRig):
    name = "gcp"

    def __init__(self, home: Path) -> None:
        self.stub, self._token = GcpStub(), home / "token"
        self._token.write_text(gcp_stub.TOKEN + "\n")

    def provider(self, timeout: int = PATIENT) -> KeyProvider:
        return GcpProvider(gcp_stub.RING, utc_now, self._token, endpoint=self.stub.url, timeout=timeout)

    def elapse(self) -> None:
        self.stub.ahead += timedelta(days=1, seconds=1)

    def section(self) -> dict[str, Any]:
        return {
            "kind": "gcp", "key_ring": gcp_stub.RING, "endpoint": self.stub.url, "token_file": str(self._token),
        }  # fmt: skip

    def delete(self, key_id: str) -> None:
        self.stub.destroyed(self.stub.keys[key_id.replace(".", "_d")])

    def purge(self, key_id: str) -> None:
        self.elapse()


class AzureRig(RestRig):
    name = "azure"

    def __init__(self, home: Path) -> None:
        self.stub, self._token = AzureStub(), home / "token"
        self._token.write_text(AzureStub.token + "\n")

    def provider(self, timeout: int = PATIENT) -> KeyProvider:
        return AzureProvider(self.stub.url, utc_now, self._token, protection="SOFTWARE", timeout=timeout)

    def section(self) -> dict[str, Any]:
        return {
            "kind": "azure", "url": self.stub.url, "token_file": str(self._token), "protection": "SOFTWARE",
        }  # fmt: skip

    def delete(self, key_id: str) -> None:
        self.stub.removed("keys", self._name(key_id))
        self.stub.deleted[self._name(key_id)]["looks"] = 0  # it is done deleting

    def purge(self, key_id: str) -> None:
        self.stub.removed("deletedkeys", self._name(key_id))

    def _name(self, key_id: str) -> str:
        return f"lethe-{key_id.replace('-', '--').replace('.', '-d')}"


RIGS: dict[str, Callable[[Path], Rig]] = {
    rig.name: rig for rig in (LocalRig, Pkcs11Rig, VaultRig, AwsRig, GcpRig, AzureRig)
}
