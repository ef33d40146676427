"""Making a log of ticks that somebody else recorded: CSV, Parquet, zips of CSV, and lines of raw frames."""
