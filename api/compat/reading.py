"""The reads that follow from frames: the same for whatever gives `get_data` and the current price.

Names, defaults and the shapes of results are those of project-x-py 4.4.1; `docs/migration.md` has the table.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl


class Reading:
    """Reads over `_frame`. All are coroutines because the other library's are; none of them waits."""

    timezone: ZoneInfo
    timeframes: dict[str, dict[str, Any]]

    @abstractmethod
    def _frame(self, timeframe: str) -> pl.DataFrame | None:
        """Return all bars of a timeframe, the open one last; None: not built here, or nothing yet."""

    @abstractmethod
    def _price(self) -> float | None:
        """Return the newest price; None: nothing yet."""

    @property
    def data(self) -> dict[str, pl.DataFrame]:
        """Frames by timeframe, those that have bars. A new dict each time: changing it changes nothing here."""
        frames = {name: self._frame(name) for name in self.timeframes}
        return {name: frame for name, frame in frames.items() if frame is not None}

    async def get_data(
        self,
        timeframe: str = "5min",
        bars: int | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - their signature; there is no lock to wait for
    ) -> pl.DataFrame | None:
        """Return bars, oldest first, the open one last; None when the timeframe is not built or has none.

        Args:
            timeframe: one of those the manager was made with.
            bars: only the newest so many.
            timeout: taken and not needed: reading waits for nobody.
        """
        frame = self._frame(timeframe)
        return frame.tail(bars) if frame is not None and bars is not None and frame.height > bars else frame

    async def get_latest_bars(self, count: int = 1, timeframe: str = "5min") -> pl.DataFrame | None:
        """Return the newest `count` bars."""
        return await self.get_data(timeframe, bars=count)

    async def get_mtf_data(self) -> dict[str, pl.DataFrame]:
        """Return the frames of all timeframes that have bars."""
        return self.data

    async def get_current_price(self) -> float | None:
        """Return the price of the newest trade that is in a bar; before the first one, history's last close."""
        return self._price()

    async def get_latest_price(self) -> float | None:
        """Return the same as `get_current_price`."""
        return self._price()

    async def get_ohlc(self, timeframe: str = "5min") -> dict[str, float] | None:
        """Return open, high, low, close and volume of the newest bar."""
        frame = await self.get_data(timeframe, bars=1)
        if frame is None or frame.is_empty():
            return None
        row = frame.row(-1, named=True)
        return {name: float(row[name]) for name in ("open", "high", "low", "close", "volume")}

    async def get_price_range(self, bars: int = 20, timeframe: str = "5min") -> dict[str, float] | None:
        """Return the newest bars' highest high, lowest low, their distance and the mean range; None: too few bars."""
        frame = await self.get_data(timeframe, bars=bars)
        if frame is None or frame.is_empty() or frame.height < bars:
            return None
        high, low = max(frame["high"]), min(frame["low"])
        ranges = (frame["high"] - frame["low"]).to_list()
        return {"high": high, "low": low, "range": high - low, "avg_range": sum(ranges) / len(ranges)}

    async def get_volume_stats(self, bars: int = 20, timeframe: str = "5min") -> dict[str, float] | None:
        """Return the newest bars' total and mean volume, the newest one's, and its ratio to the mean."""
        frame = await self.get_data(timeframe, bars=bars)
        if frame is None or frame.is_empty():
            return None
        volumes = [float(volume) for volume in frame["volume"]]
        total, current = sum(volumes), volumes[-1]
        average = total / len(volumes)
        relative = current / average if average > 0 else 0.0
        return {"total": total, "average": average, "current": current, "relative": relative}

    async def is_data_ready(self, min_bars: int = 20, timeframe: str | None = None) -> bool:
        """Whether there are `min_bars` bars of this timeframe, or of each of them."""
        frames = [self._frame(name) for name in ([timeframe] if timeframe else self.timeframes)]
        return bool(frames) and all(frame is not None and frame.height >= min_bars for frame in frames)

    async def get_data_or_none(self, timeframe: str = "5min", min_bars: int = 20) -> pl.DataFrame | None:
        """Return the bars when there are at least `min_bars` of them."""
        frame = await self.get_data(timeframe)
        return None if frame is None or frame.height < min_bars else frame

    async def get_bars_since(self, timestamp: datetime, timeframe: str = "5min") -> pl.DataFrame | None:
        """Return the bars that open at `timestamp` or later; a naive one is in the manager's zone."""
        frame = await self.get_data(timeframe)
        if frame is None or frame.is_empty():
            return None
        since = timestamp if timestamp.tzinfo is not None else timestamp.replace(tzinfo=self.timezone)
        return frame.filter(pl.col("timestamp") >= since.astimezone(self.timezone))

    async def get_session_data(
        self,
        timeframe: str,
        session_type: Any = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - their signature
    ) -> pl.DataFrame | None:
        """Return all bars for `ETH` (the default); for anything else None, as over there without a session filter."""
        wanted = "ETH" if session_type is None else str(getattr(session_type, "value", session_type))
        frame = await self.get_data(timeframe, timeout=timeout) if wanted == "ETH" else None
        return None if frame is None or frame.is_empty() else frame
