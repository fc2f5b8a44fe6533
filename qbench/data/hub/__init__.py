"""Data sets that lie in files: found in a folder of the user, or in the cache of the hub."""
