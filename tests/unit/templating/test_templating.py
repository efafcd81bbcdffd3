"""Templates and their quoting: what is written into a file means there what the user wrote, or is refused."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

from deployer import templating
from deployer.errors import SettingsError

NASTY = [
    "plain",
    "two words",
    "it's",
    'say "hi"',
    "$HOME `id` $(id)",
    "100%",
    "back\\slash\\",
    "*?[a]",
    "",
    "-n",
    "é→",
    "#;&|",
]


@pytest.mark.parametrize("value", NASTY)
def test_a_nasty_value_reaches_a_shell_unchanged(value: str) -> None:
    shown = subprocess.run(
        ["sh", "-c", f"printf %s {templating.sh(value)}"], capture_output=True, text=True, check=True
    ).stdout
    assert shown == value


@pytest.mark.parametrize("quote", [templating.oneline, templating.sdvalue, templating.sdexec, templating.haproxy])
@pytest.mark.parametrize("value", ["two\nlines", "carriage\rreturn", "nul\0", "line\u2028separator"])
def test_a_line_break_is_refused_where_a_line_is_all_there_is(quote: object, value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        quote(value)  # type: ignore[operator]


def test_systemd_words_keep_percent_quotes_and_backslashes() -> None:
    assert templating.sdvalue('50% of "C:\\x"') == '"50%% of \\"C:\\\\x\\""'
    assert templating.sdexec("$HOME") == '"$$HOME"'


@pytest.mark.parametrize("path", ["relative", "/ends in backslash\\", "/ends in space "])
def test_systemd_paths_that_it_would_read_otherwise_are_refused(path: str) -> None:
    with pytest.raises(ValueError):
        templating.sdpath(path)


@pytest.mark.parametrize("value", ["a ;b", "a #b", "; first", " led"])
def test_supervisord_values_that_would_be_cut_are_refused(value: str) -> None:
    with pytest.raises(ValueError):
        templating.supervisord(value)


def test_supervisord_values_survive_its_ini_reader() -> None:
    text = f"[x]\nvalue={templating.supervisord('100% a;b #'.strip(' #'))}\n"
    reader = configparser.ConfigParser(inline_comment_prefixes=(";", "#"))
    reader.read_string(text)
    assert reader["x"]["value"] == "100% a;b"


def test_the_users_own_template_is_found_first(tmp_path: Path) -> None:
    (tmp_path / "run.sh.j2").write_text("mine {{ word | sh }}\n")
    assert templating.render("run.sh.j2", search=[tmp_path], word="a b") == "mine 'a b'\n"


def test_a_forgotten_value_names_the_template(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("{{ nothing }}")
    with pytest.raises(SettingsError, match="nothing") as caught:
        templating.render("x.j2", search=[tmp_path])
    assert caught.value.file == "x.j2"


def test_a_template_with_a_mistake_is_shown_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("fine\n{% if %}\n")
    with pytest.raises(SettingsError) as caught:
        templating.render("x.j2", search=[tmp_path])
    assert caught.value.line == 2


def test_a_missing_template_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"template absent\.j2 was not found") as caught:
        templating.render("absent.j2", search=[tmp_path])
    assert str(tmp_path) in (caught.value.cause or "")


def test_a_value_that_its_format_cannot_say_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("v={{ value | oneline }}")
    with pytest.raises(SettingsError, match="line break"):
        templating.render("x.j2", search=[tmp_path], value="a\nb")


PAYLOADS = {
    "a builtin's globals": "{{ cycler.__init__.__globals__.os.popen('touch ' ~ out).read() }}",
    "a class of all classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a filter that looks up": "{{ ''|attr('__class__') }}{{ (''|attr('__class__')).__mro__ }}",
    "a format string": "{{ '{0.__class__.__mro__}'.format('') }}",
    "a path that is handed in": "{{ path.write_text('x') }}",
    "a method of a path by name": "{{ (path|attr('touch'))() }}",
    "a list that is handed in": "{{ words.append('x') }}",
}


@pytest.mark.parametrize("template", PAYLOADS.values(), ids=PAYLOADS)
def test_a_template_runs_nothing_and_changes_nothing(template: str, tmp_path: Path) -> None:
    out, words = tmp_path / "out", ["a"]
    with pytest.raises(SettingsError, match="cannot be rendered"):
        templating.render_text(template, where="role.yaml", path=out, out=str(out), words=words)
    assert not out.exists() and words == ["a"]


def test_a_template_may_make_text_of_what_it_gets() -> None:
    text = "{{ name.upper() }} {{ places.items() | map('join', '=') | join(' ') }} {{ path.name | python }}"
    assert templating.render_text(text, where="x", name="a", places={"b": "c"}, path=Path("/d/e")) == "A b=c 'e'"


def test_the_tools_own_content_is_there() -> None:
    assert (templating.content("templates") / "run.sh.j2").is_file()
    assert (templating.content("roles") / "app" / "role.yaml").is_file()
