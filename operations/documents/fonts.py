"""The fonts of a PDF: they come with the installation, so that it looks the same on every machine and lacks no letter.

Noto Sans, with Thai and some twenty scripts more, and Noto Sans CJK (SIL Open Font License 1.1): packages of the extra
`serve` that hold the files and no code.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

import typst

from lethe.schemas.errors import ConfigurationError

_PACKAGES: Final = ("manimgx_fonts", "manimgx_fonts_cjk")


@cache
def installed() -> typst.Fonts:
    """Return the fonts, looked through once; raises `ConfigurationError` when they are not installed."""
    found: list[str] = []
    for name in _PACKAGES:
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigurationError("the fonts of PDF documents are an extra: pip install 'lethe[serve]'")
        found += spec.submodule_search_locations
    return typst.Fonts(include_system_fonts=False, font_paths=found)
