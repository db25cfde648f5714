"""Make key providers from the settings. A provider's library is imported when the provider is first used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from lethe.keys.providers.choice import Openers
from lethe.keys.providers.interface import KeyProvider
from lethe.operations.sections.keys import (
    AwsKeys,
    AzureKeys,
    GcpKeys,
    Keys,
    LocalKeys,
    Pkcs11Keys,
    ProviderSettings,
)
from lethe.schemas.errors import ConfigurationError


def openers(keys: Keys, clock: Callable[[], datetime], group: str | None) -> Openers:
    """Return how each configured provider is opened, by its name. `group` may share a local directory."""
    return {name: partial(_open, name, section, clock, group) for name, section in keys.providers.items()}


def _open(
    name: str, section: ProviderSettings, clock: Callable[[], datetime], group: str | None
) -> KeyProvider:
    try:
        return _opened(section, clock, group)
    except ImportError as error:
        raise ConfigurationError(
            f"the key provider {name} needs the library {error.name}: pip install 'lethe[{section.kind}]'"
        ) from None


def _opened(section: ProviderSettings, clock: Callable[[], datetime], group: str | None) -> KeyProvider:
    # Imported here: each needs a library that only who uses it installs.
    if isinstance(section, LocalKeys):
        from lethe.keys.providers.local import LocalProvider

        return LocalProvider(section.directory, clock, group)
    if isinstance(section, Pkcs11Keys):
        from lethe.keys.providers.pkcs11 import Pkcs11Provider

        return Pkcs11Provider(section.module, section.token, section.pin_file, clock)
    if isinstance(section, AwsKeys):
        from lethe.keys.providers.aws import AwsProvider

        return AwsProvider(section.region, clock, section.prefix, section.endpoint_url)
    if isinstance(section, GcpKeys):
        from lethe.keys.providers.gcp import GcpProvider

        return GcpProvider(section.key_ring, clock, section.token_file, section.protection, section.endpoint)
    if isinstance(section, AzureKeys):
        from lethe.keys.providers.azure import AzureProvider

        return AzureProvider(section.url, clock, section.token_file, section.protection, section.prefix)
    from lethe.keys.providers.vault import VaultProvider

    return VaultProvider(
            section.url, section.token_file, clock, section.mount, section.prefix, section.namespace,
            section.ca_file,
        )  # fmt: skip
