"""Where the `lethe` command begins: what it is made of is imported while no garbage is collected."""

from __future__ import annotations

import gc

from lethe.console.cli._early import nothing_begun


def main() -> None:
    """Run the command line; see `lethe.console.cli.main`."""
    nothing_begun()
    gc.disable()  # until a command begins: nearly all that is made stays, and looking at it costs a tenth
    from lethe.console.cli.main import main as run

    run()
