"""The front door: authenticates, authorises, validates; signals workflows; shows what is stored."""
