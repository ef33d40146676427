"""Benchmarks that anybody can run at home, beside peers: replay, hand-over between actors, a live session."""
