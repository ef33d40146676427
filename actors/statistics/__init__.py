"""Counters and latency histograms of fixed size."""
