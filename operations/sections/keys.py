"""Settings of the providers that hold key-encryption keys: the sections `[keys]` and `[keys.providers.NAME]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from lethe.schemas.sections import Section, setting


class LocalKeys(Section):
    """Another directory of this machine, or mounted into it."""

    kind: Literal["local"]
    directory: Path


class Pkcs11Keys(Section):
    """A PKCS#11 module: a hardware security module, or SoftHSM."""

    kind: Literal["pkcs11"]
    module: Path = setting(description="the module's library, such as /usr/lib/softhsm/libsofthsm2.so")
    token: str = setting(min_length=1, max_length=32, description="label of the token")
    pin_file: Path = setting(description="file with the user's PIN; read again at each log-in")


class VaultKeys(Section):
    """The transit engine of OpenBao or HashiCorp Vault."""

    kind: Literal["vault"]
    url: str = setting(pattern=r"https?://.+")
    token_file: Path = setting(description="file with the token; read again at each request")
    mount: str = setting(default="transit", pattern=r"[A-Za-z0-9_./-]{1,100}")
    prefix: str = setting(
        default="lethe.", pattern=r"[A-Za-z0-9._-]{0,40}", description="before every key's name"
    )
    namespace: str | None = None
    ca_file: Path | None = None


class AwsKeys(Section):
    """AWS KMS with imported key material; credentials as boto3 finds them."""

    kind: Literal["aws"]
    region: str = setting(min_length=1, max_length=40)
    prefix: str = setting(
        default="lethe", pattern=r"[A-Za-z0-9-]{1,40}", description="keys are alias/PREFIX/KEY-ID"
    )
    endpoint_url: str | None = setting(default=None, pattern=r"https?://.+")


class GcpKeys(Section):
    """Google Cloud KMS."""

    kind: Literal["gcp"]
    key_ring: str = setting(pattern=r"projects/[^/?#]+/locations/[^/?#]+/keyRings/[^/?#]+")
    token_file: Path | None = setting(
        default=None, description="file with an access token; none: the service account of the machine"
    )
    protection: Literal["SOFTWARE", "HSM"] = "HSM"
    endpoint: str = setting(default="https://cloudkms.googleapis.com", pattern=r"https?://.+")


class AzureKeys(Section):
    """Azure Key Vault or Managed HSM."""

    kind: Literal["azure"]
    url: str = setting(pattern=r"https?://[^/?#]+", description="such as https://NAME.vault.azure.net")
    token_file: Path | None = setting(
        default=None, description="file with an access token; none: the managed identity of the machine"
    )
    protection: Literal["SOFTWARE", "HSM"] = "HSM"
    prefix: str = setting(
        default="lethe-", pattern=r"[A-Za-z0-9-]{0,20}", description="before every key's name"
    )


ProviderSettings = LocalKeys | Pkcs11Keys | VaultKeys | AwsKeys | GcpKeys | AzureKeys


class Keys(Section):
    """Where key-encryption keys live. `local`, which is always there, is the directory `keys_dir`."""

    provider: str = setting(default="local", description="the provider that makes keys in a new warehouse")
    providers: dict[str, ProviderSettings] = setting(
        default_factory=dict, description="name -> provider; all of them open what they wrapped"
    )

    def check(self) -> None:
        """Check the names of providers."""
        for name in self.providers:
            if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) or name == "local":
                raise ValueError(
                    "a provider is named with a-z, 0-9 and `-` (at most 32), and `local` is keys_dir"
                )
        if self.provider != "local" and self.provider not in self.providers:
            raise ValueError("keys.provider names no section of keys.providers")
