"""What PyInstaller cannot see: built-ins are imported by computed names, SQL and words are files.

Found through the entry point ``pyinstaller40``; see `cronguard.settings.plugins.hook_dirs`.
"""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

_PARTS = ("channels", "core", "guarding", "privacy", "process", "runtime", "settings", "stores")
"""Without the command line, and without what is for tests: it would bring pytest."""

hiddenimports = [name for part in _PARTS for name in collect_submodules(f"cronguard.{part}")]
datas = collect_data_files("cronguard", excludes=["cli/**", "testing/**", "settings/pyinstaller/*"])
