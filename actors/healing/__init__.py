"""Healing: what a gap lost is asked of the gateway's history, and its answers enter the order of the log."""
