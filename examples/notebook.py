# %% [markdown]
# # Live bars in a notebook
# Cells, as Jupyter and editors read them. A session has threads of its own, so a cell that has run leaves it running,
# and the loop that a notebook runs in is not needed and not held up. As a script it runs from top to bottom.
# ruff: noqa: D100, E402

# %%
import sys
import time

import matplotlib as mpl
import polars as pl
from emulated import arguments, session_for

given = arguments("Live bars to polars and a plot.", seconds=5).parse_args([] if "ipykernel" in sys.modules else None)
if "ipykernel" not in sys.modules:
    mpl.use("agg")
import matplotlib.pyplot as plt

# %% Start: the session goes on while you think.
gateway = session_for(given.contract, ("1s", "5s", "1m"), live=given.live)
session = gateway.__enter__()
session.start()
time.sleep(given.seconds)

# %% Look: Arrow to polars copies nothing.
frame = pl.DataFrame(pl.from_arrow(session.table(given.contract, "1s", partial=True)))
print(frame.select("open_time", "open", "high", "low", "close", "volume", "flags"))

# %% Compute: whole seconds, their range and how much of the volume was bought.
seconds = frame.filter(pl.col("flags") == "").with_columns(
    (pl.col("high") - pl.col("low")).alias("range"),
    (pl.col("buy_volume") / pl.col("volume")).alias("bought"),
)
print(seconds.select(pl.len().alias("bars"), pl.col("range").mean(), pl.col("bought").mean()))

# %% Plot: prices above, volume below.
figure, (prices, volume) = plt.subplots(2, sharex=True, height_ratios=[3, 1], figsize=(8, 5))
times = frame["open_time"].to_list()
prices.vlines(times, frame["low"], frame["high"], color="tab:gray")
prices.plot(times, frame["close"], marker="o", markersize=3)
prices.set_title(f"{given.contract}, a second a bar")
volume.bar(times, frame["volume"], width=0.8 / 86_400)
figure.autofmt_xdate()
figure.savefig("bars.png", dpi=100)
plt.close(figure)

# %% End: the account of the session.
summary = session.stop()
gateway.__exit__(None, None, None)
print(f"{summary.ticks} ticks, {summary.lost} lost, digest {summary.digest[:12]}")
