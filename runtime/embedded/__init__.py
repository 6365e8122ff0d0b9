"""The embedded stack: everything that Hotswap needs, as processes on one machine (docs/adr/0003)."""
