"""Durable control flow: decides order, waits, reacts to signals. All I/O is in activities."""
