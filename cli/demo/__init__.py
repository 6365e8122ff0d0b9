"""The demo: real modules on a real stack under real traffic, with a report of what was measured."""
