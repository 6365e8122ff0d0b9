"""The front door: authenticates, authorises, validates; starts and signals workflows; shows what is stored."""
