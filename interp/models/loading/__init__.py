"""From a name to a model: what the name is, what lies there, whether it may be trusted, and reading
it.
"""
