"""How a module of each kind is swapped."""
