"""How redaction is measured; see ``__main__``."""
