"""What people look at: one analysis as a self-contained page. Imports the domain only."""
