"""The folder of the caches."""

from pathlib import Path

import platformdirs


def cache_folder(*parts: str) -> Path:
    """A folder in the user's cache; nothing is made."""
    return Path(platformdirs.user_cache_dir("fem-core"), *parts)
