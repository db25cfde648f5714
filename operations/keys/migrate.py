"""Move all keys to another provider while workers run; audited."""

from __future__ import annotations

from collections.abc import Callable

from lethe.keys.keeping.migration import Migration, Moved
from lethe.operations.asker import Asker, record
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import ConfigurationError, LetheError


def migrate(
    runtime: Runtime,
    asker: Asker,
    target: str,
    on_moved: Callable[[int, int | None], None] = lambda _, __: None,
) -> list[Moved]:
    """Move every key to the provider of that name and make new ones there from now on.

    Raises `LetheError` while a month that opens is marked as destroyed or given up, which nobody did: its key would be
    left behind.

    1. Write the audit entry: who moves keys, and where to.
    2. Move them one by one (`lethe.keys.keeping.migration`). A crash leaves some here and some there, all of which
       open; run it again. Workers take the new place up at their next opening, without a restart, if their
       configuration names the provider by then.
    """
    if target not in runtime.providers.names:
        names = ", ".join(runtime.providers.names)
        raise ConfigurationError(f"no key provider is called so; the configuration has {names}")
    if marked := [info.key_id for info in runtime.ring.states(runtime.clock())[0] if info.marked]:
        raise LetheError(
            f"{', '.join(marked)} is marked as destroyed or given up and opens: lethe keys check says what to remove; "
            "its key would not be moved"
        )
    # Step 1
    record(runtime, asker, "keys.migrate", target=target)
    # Step 2
    moved = []
    for one in Migration(runtime.providers, runtime.objects, runtime.clock, target).run():
        moved.append(one)
        on_moved(len(moved), None)
    return moved
