"""Tickloom weaves a live futures tick stream into exact OHLCV bars."""
