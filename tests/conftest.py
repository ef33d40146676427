"""What holds for every test."""

import os

import pytest
from hypothesis import settings

# a deadline would measure the machine, and fail where it is busy: how long a test may take is pytest-timeout's
settings.register_profile("everyday", deadline=None, max_examples=50)
settings.register_profile("long", deadline=None, max_examples=500)
settings.load_profile("long" if os.environ.get("TICKLOOM_LONG") else "everyday")

SLOWEST = ("test_snippets.py", "test_readme.py", "test_packaging.py", "test_lost_feed.py", "test_model.py")
"""Files whose tests take longest: begun first, so that none of them is what all others wait for in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest first; the others keep their order."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)
