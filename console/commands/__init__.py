"""The commands of `lethe`, a module for each group of them."""
