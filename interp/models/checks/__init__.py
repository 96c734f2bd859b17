"""Can a model be trusted? Self-checks of it and of its sites, and what each method relies on."""
