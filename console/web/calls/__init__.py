"""What commands ask of the service (`LETHE_SERVER`): each use case once, with its permission and its grant."""

from lethe.console.web.calls import account, desk, holds, oversight, rights, terminal, window

__all__ = ["ROUTERS"]
ROUTERS = (
    terminal.router,
    account.router,
    desk.router,
    window.router,
    rights.router,
    holds.router,
    oversight.router,
)
