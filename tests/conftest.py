"""What holds for every test."""

from hypothesis import settings

# a deadline would measure the machine, and fail where it is busy: how long a test may take is pytest-timeout's
settings.register_profile("tickloom", deadline=None)
settings.load_profile("tickloom")
