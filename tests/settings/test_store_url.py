"""The store setting's forms, and where the database is when nobody said."""

import os
import stat
import sys
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.planted import TEXTS, leaks

from cronguard.core.errors import ConfigError
from cronguard.core.model import SecretRef
from cronguard.settings import store_url
from cronguard.settings.store_url import StoreTarget, default_store_path, parse_store, store_target


@pytest.mark.parametrize(
    ("text", "target", "plugin"),
    [
        ("sqlite:///a/b.db", ("sqlite", "a/b.db"), "sqlite"),
        ("sqlite:////a/b.db", ("sqlite", "/a/b.db"), "sqlite"),
        ("SQLite:///b.db", ("sqlite", "b.db"), "sqlite"),
        ("supabase", ("supabase", ""), "supabase"),
        ("postgresql://h/d", ("postgresql", "postgresql://h/d"), "postgres"),
        ("postgres://h/d", ("postgres", "postgres://h/d"), "postgres"),
        (" env:DATABASE_URL\n", ("env", "DATABASE_URL"), "env"),
        ("libsql://h", ("libsql", "libsql://h"), "libsql"),
    ],
)
def test_forms(text, target, plugin):
    """Each form is taken apart; the plugin that answers to it is named."""
    assert parse_store(text) == StoreTarget(*target)
    assert parse_store(text).plugin == plugin


@given(st.one_of(st.text(max_size=40), st.sampled_from(TEXTS)))
def test_any_text_is_a_target_or_refused_without_being_quoted(text):
    """Parsing fails with ConfigError only, and neither that nor a target's repr shows a secret."""
    try:
        shown = repr(parse_store(text))
    except ConfigError as error:
        shown = str(error)
        assert text.strip() not in shown or len(text.strip()) < 10
    assert shown.isprintable()
    assert not leaks(shown)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgres://u:p@h/d", True),
        ("postgres://u:p@h,h2/d", True),
        ("other://app:s3cr/et@h/d", True),
        ("postgres://h/d?user=u&password=p", True),
        ("postgres://h/d?PassWord=p", True),
        ("postgres://u@h:5432/d", False),
        ("postgres://h/d?x=a:b%40c", False),
    ],
)
def test_passwords_in_addresses_are_seen(url, secret):
    """Both places where libpq takes a password count."""
    assert parse_store(url).has_password is secret


@given(st.text(alphabet="@/:#?%= a1", min_size=1, max_size=12))
def test_of_a_password_that_is_not_encoded_nothing_is_shown(password):
    """Refused, or taken apart as it was meant: no part of it becomes a host, a port or a name."""
    store = pytest.importorskip("cronguard.stores.server.postgres").PostgresStore
    planted = password.replace("a", "hunter22plus")
    address = f"postgresql://app:{planted}@db.internal:5432/app"
    for use in (parse_store, store.from_url):
        try:
            said = getattr(use(address), "where", "")
        except ConfigError as error:
            said = str(error)
        assert "hunter22plus" not in said
        assert "db.internal" not in said or said == "PostgreSQL at db.internal:5432/app"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:s3cr/et@127.0.0.1:9/x",
        "postgresql://app:12/34@127.0.0.1:9/x",
        "postgresql://app:12/d?x=y@127.0.0.1:9/x",
        "postgresql://app:s3@cret@127.0.0.1:9/x",
        "postgresql://u:p@h,u2:p2@h2/d",
    ],
)
def test_an_address_that_does_not_split_is_refused(text):
    """What could be a piece of a password is left in its host, port or name."""
    with pytest.raises(ConfigError, match="percent-encode what is special in the password"):
        parse_store(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:p%40%2F@h:5432/d",
        "postgresql://u:a?b#c:d e@h/d",
        "postgresql:///d?host=/var/run&port=5433",
        "postgresql://u@%2Fvar%2Frun/d",
        "postgresql://u:p@[::1]:5432/d",
        "postgresql://u:p@h1:1,h2:2/d?options=-c%20a=b",
    ],
)
def test_an_address_that_libpq_takes_apart_is_taken(text):
    """Sockets, several hosts, IPv6, and what libpq does not mind in a password."""
    assert parse_store(text).plugin == "postgres"


def test_an_sqlite_address_takes_no_options():
    """``?mode=ro`` is refused, and does not become a part of the file's name."""
    with pytest.raises(ConfigError, match=r"store has a \? in it.*: use sqlite:///relative"):
        parse_store("sqlite:///runs.db?mode=ro")


def test_variables_are_followed_to_an_address():
    """env:A whose value is env:B, and no further than three steps."""
    environ = {"A": "env:B", "B": "supabase", "C": "env:C", "D": "x=hunter22plus", "E": " "}
    assert store_target("env:A", environ).scheme == "supabase"
    assert store_target(SecretRef("env", "A"), environ).scheme == "supabase"
    assert store_target("sqlite:///x.db", environ).location == "x.db"
    for name, said in {
        "C": "from variable to variable",
        "D": "environment D",
        "E": "set E",
    }.items():
        with pytest.raises(ConfigError, match=said) as caught:
            store_target(f"env:{name}", environ)
        assert not leaks(str(caught.value))


# --- the default ----------------------------------------------------------------------------------


@pytest.fixture
def temp(tmp_path, monkeypatch):
    """The system's persistent temporary directory."""
    folder = tmp_path / "vartmp"
    folder.mkdir()
    monkeypatch.setattr(store_url, "_PERSISTENT_TEMP", folder)
    return folder


def own(temp):
    return temp / f"cronguard-{os.geteuid()}"


linux = pytest.mark.skipif(sys.platform != "linux", reason="the folders are Linux's")


@pytest.mark.skipif(os.name != "posix", reason="its folders are made here")
@pytest.mark.parametrize("system", ["linux", "freebsd", "darwin"])
def test_the_users_state_folder_is_platformdirs_own(tmp_path, monkeypatch, system):
    """The short way to the state folder ends where platformdirs ends."""
    from platformdirs.macos import MacOS
    from platformdirs.unix import Unix

    kind = MacOS if system == "darwin" else Unix
    monkeypatch.setattr(sys, "platform", system)
    for variables in (
        {"HOME": str(tmp_path)},
        {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")},
        {"HOME": str(tmp_path), "XDG_STATE_HOME": " "},
    ):
        for name in ("HOME", "XDG_STATE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        expected = kind("cronguard").user_state_path / "cronguard.db"
        assert default_store_path(dict(os.environ)) == expected
    assert not (tmp_path / "state").exists(), "the store makes its folder itself"


def test_on_windows_it_is_local_application_data(monkeypatch):
    """Where platformdirs has it, without the author's folder."""
    monkeypatch.setattr(sys, "platform", "win32")
    folder = "C:\\Users\\ola\\AppData\\Local"
    monkeypatch.setattr(store_url, "Path", PureWindowsPath)
    expected = PureWindowsPath(folder, "cronguard")
    assert store_url._state_folder({"LOCALAPPDATA": folder}) == expected
    assert store_url._state_folder({}) is None


@linux
@pytest.mark.parametrize("home", [None, "", "/", "//", "relative", "/nonexistent/home"])
def test_without_a_home_the_users_own_folder_in_the_persistent_temp(temp, home):
    """Under cron or in a container HOME may be missing, / or a name only."""
    path = default_store_path({} if home is None else {"HOME": home})
    assert path == own(temp) / "cronguard.db"
    assert stat.S_IMODE(own(temp).stat().st_mode) == 0o700
    assert default_store_path({}) == path, "the same the second time"


@linux
def test_a_home_that_cannot_be_written_is_none(temp, tmp_path, monkeypatch):
    """A service user's home is often root's; a state folder that exists is used whatever."""
    home = tmp_path / "home"
    home.mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != home and real(path, mode))
    assert default_store_path({"HOME": str(home)}) == own(temp) / "cronguard.db"
    (home / ".local" / "state" / "cronguard").mkdir(parents=True)
    expected = home / ".local" / "state" / "cronguard" / "cronguard.db"
    assert default_store_path({"HOME": str(home)}) == expected


@linux
@pytest.mark.parametrize("trap", ["symlink", "dangling", "file", "stranger"])
def test_a_folder_that_is_not_ones_own_is_refused(temp, tmp_path, monkeypatch, trap):
    """Whoever took the name first, by link or by folder, does not get the database."""
    if trap == "symlink":
        (tmp_path / "elsewhere").mkdir()
        own(temp).symlink_to(tmp_path / "elsewhere")
    elif trap == "dangling":
        own(temp).symlink_to(tmp_path / "nowhere")
    elif trap == "file":
        own(temp).touch()
    else:
        (temp / "cronguard-4711").mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(ConfigError, match="set HOME or CRONGUARD_STORE") as caught:
        default_store_path({})
    assert str(caught.value).isprintable()
    assert not (tmp_path / "nowhere").exists()


@linux
def test_a_loose_folder_of_ones_own_is_tightened(temp):
    """Rows name hosts and errors: nobody else reads them."""
    own(temp).mkdir(mode=0o755)
    default_store_path({})
    assert stat.S_IMODE(own(temp).stat().st_mode) == 0o700


@linux
def test_no_place_at_all_is_said(tmp_path, monkeypatch):
    """Neither HOME nor a temporary directory: one line that says what to set."""
    monkeypatch.setattr(store_url, "_PERSISTENT_TEMP", tmp_path / "gone")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="set HOME or CRONGUARD_STORE"):
        default_store_path({})
