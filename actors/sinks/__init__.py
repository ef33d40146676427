"""Where bars go: Parquet files and subscribers."""
