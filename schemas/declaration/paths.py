"""Templates of paths: what of a requested path says which door was used, and nothing of who or what stood behind it.

A path names what it is about: `/users/jane.doe`, `/messages/447700900123`, `/search?text=...`. No pattern tells a name
from a word, so a segment stays only if it is one of the words below, one of the format's own `words`, or a version;
any other is `{}`. The query and the fragment are gone.
"""

from __future__ import annotations

import re
from typing import Final

WORDS: Final = frozenset(
    "2fa accept accounts activate activity advanced api api-keys apikeys applications approve apps archive assets "
    "async audio audit auth authorize balance batch billing bulk bulks callbacks calls campaigns cancel channels "
    "chat config confirm console contacts conversations create css dashboard deactivate delete deliveries disable "
    "docs documents domains download edit email emails enable endpoints entities errors events export favicon.ico "
    "feedback fields files flow flows forms graphql groups health history home ids images import inbound inbox "
    "index.html info invite invoices ips js keys limits line lists log login logo.png logout logs mail main media "
    "members messages messenger metrics mms multi new notifications numbers oauth oauth2 omni operators orders otp "
    "outbound pages partners password payments permissions phone-numbers pin ping plans pools portal preview "
    "pricing products profile profiles providers public query queue queues rates rcs recordings refresh register "
    "reject reload renew reply report reports requests resend reset resources rest restart restore resume revoke "
    "roles routes rules scenarios schedule scheduled search secret secrets segments send senders service services "
    "session sessions settings setup sign-in sign-out sign-up single sip sms sso start static statistics stats "
    "status statuses stop store streams subaccounts submit subscribe subscriptions summary suspend sync tags teams "
    "templates test text token tokens tools tracking transactions update upload usage user users validate "
    "verifications verify version versions viber video views voice web webhook webhooks webrtc whatsapp whoami "
    "workers".split()
)
"""Words that doors of such platforms are called by. None is anybody's name or number."""
_VERSION: Final = re.compile(r"v[0-9]{1,2}(?:\.[0-9]{1,2})?|[0-9]", re.ASCII)
_MOST_BYTES: Final = 8_192
_MOST_SEGMENTS: Final = 12


def template(path: str, words: frozenset[str] = frozenset()) -> str | None:
    """Return the template of a path or of a URL, or None for what is neither; `words` may stay besides `WORDS`."""
    path = path.strip()
    if "://" in path[:16]:
        path = "/" + path.partition("://")[2].partition("/")[2]
    if not path.startswith("/") or len(path) > _MOST_BYTES:
        return None
    path = re.split(r"[?#;]", path, maxsplit=1)[0]
    segments = path[1:].split("/")
    shown = [_shown(s, words, at) for at, s in enumerate(segments[:_MOST_SEGMENTS])]
    return "/" + "/".join([*shown, *["..."] * (len(segments) > _MOST_SEGMENTS)])


def _shown(segment: str, words: frozenset[str], at: int) -> str:
    known = segment == "" or segment in WORDS or segment in words
    # A number that is no version of the interface, such as a user's, stands further behind.
    return segment if known or (at < 3 and _VERSION.fullmatch(segment)) else "{}"
