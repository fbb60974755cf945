"""How cronguard and its peers behave in the same eight situations: ``python -m tests.peers``."""
