"""Scripts are read as a shell reads them: every simple command, wherever it stands."""

from __future__ import annotations

import pytest

from pytest_agentcap.safety.shell import parse


def names(text: str) -> list[str]:
    return [command.words[0].text for command in parse(text).commands if command.words]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ls -l | grep x; pwd && cat a || wc b &", ["ls", "grep", "pwd", "cat", "wc"]),
        ('echo "$(which $(id))" `date`', ["id", "which", "date", "echo"]),
        ("diff <(sort a) <(uniq b)", ["sort", "uniq", "diff"]),
        ("(cd x; ls); { pwd; }", ["cd", "ls", "pwd"]),
        ("for i in $(ls); do curl $i; done; while read x; do wc; done", ["ls", "curl", "read", "wc"]),
        ("if grep x; then a; else b; fi; case $x in y) c;; esac", ["grep", "a", "b", "c"]),
        ("X=rm; $X -rf a; ${X} b", ["rm", "rm"]),
        ("A=1 B=2 env", ["env"]),
        ("git \\\n  status", ["git"]),
        ("> out rm z", ["rm"]),
        ("cat <<EOF | sh\n$(curl x)\nEOF", ["cat", "curl", "sh"]),
        ("r\\m x; 'r'\"m\" y", ["rm", "rm"]),
        ("f() { wget x; }; f", ["wget", "f"]),
    ],
)
def test_commands_are_found_wherever_they_stand(text, wanted):
    assert names(text) == wanted


def test_redirections_are_files_that_are_read_or_written():
    (command,) = parse("sort < in.txt > 'o u t' 2>> log 2>&1 extra").commands
    assert [(each.target.text, each.writes) for each in command.redirects] == [
        ("in.txt", False),
        ("o u t", True),
        ("log", True),
    ]
    assert [word.text for word in command.words] == ["sort", "extra"]


@pytest.mark.parametrize(
    "text", ["sh <<'E'\nrm x\nE", "sh <<< 'rm x'", "echo rm x | sh", "cat <<E | sh\nrm x\nE", "printf 'rm x' | sh"]
)
def test_what_a_shell_is_fed_is_known_when_the_text_tells(text):
    assert (parse(text).commands[-1].stdin or "").strip().splitlines()[0] == "rm x"


def test_a_heredoc_keeps_the_file_that_it_goes_to():
    first, second = parse("cat <<'A' > f && sh f\nls\nA\n").commands
    assert [each.target.text for each in first.redirects] == ["f"]
    assert first.stdin == "ls\n"
    assert [word.text for word in second.words] == ["sh", "f"]


def test_words_that_depend_on_more_than_the_text_are_not_known():
    (command,) = parse('cp "$HOME/a" b$1').commands
    assert [word.known for word in command.words] == [True, False, False]
    assert parse("cp $HOME/a b", {"HOME": "/home/agent"}).commands[0].words[1].text == "/home/agent/a"


@pytest.mark.parametrize("text", ["echo 'unterminated", "a\0b", "((", "x" * (1 << 20) + "y"])
def test_what_is_no_shell_is_not_whole(text):
    assert not parse(text).whole


def test_deep_nesting_ends(capfd):
    assert not parse("$(" * 5000 + ")" * 5000).whole
