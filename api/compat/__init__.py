"""`RealtimeDataManager` of project-x-py 4.4, on top of a session: for programs that read bars from it today.

```python
from tickloom.compat import RealtimeDataManager      # was: from project_x_py.realtime_data_manager import …
```

Names, defaults, frames and event payloads of the read side are those of project-x-py 4.4.1; what lies behind them is
a `tickloom.Session`. What differs in results, and why, is in `docs/migration.md`. Needs polars (`tickloom[compat]`).
"""

try:
    import polars as pl  # noqa: F401 - only to say in words what is missing
except ImportError as error:
    raise ImportError("tickloom.compat gives polars frames: pip install 'tickloom[compat]'") from error

from tickloom.compat.events import CompatEvent
from tickloom.compat.manager import RealtimeDataManager

__all__ = ["CompatEvent", "RealtimeDataManager"]
