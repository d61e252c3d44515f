"""Writes what makes a shell complete `art32`: scripts/completions.py DIRECTORY

The files land where Debian's shells look for those of a package. They are the command line as it
is when they are made: pressing Tab starts no Python. The names of sources, logs, pipes, recipients
and hosts are read from the configuration, where the user may read it.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from command_tree import Command, Option, Value, commands

from agent.health.checks import checks

#: Which table and which key of the configuration has the names of a kind.
NAMES = {
    "source": ("[[sources]]", "name"),
    "log": ("[[logs.rotate]]", "name"),
    "pipe": ("[[logs.pipes]]", "name"),
    "recipient": ("[[encryption.recipients]]", "name"),
    "host": ("[[signers]]", "host"),
}
_RUNBOOKS = "/opt/art32/share/art32/runbooks"
_HEAD = "# Made from the command line of art32 when the package was built.\n"
# what is no plain name is left out: a shell must never evaluate what a file says
_AWK = (
    "/^[ \\t]*\\[/ { inside = ($1 == section) } "
    'inside && $1 == key && $2 == "=" '
    '{ gsub(/"/, "", $3); if ($3 ~ /^[A-Za-z0-9][A-Za-z0-9_.-]*$/) print $3 }'
)


def bash() -> str:
    """Return the file for bash 4.4 and newer; it needs nothing of bash-completion."""
    known = list(commands())
    lines = [
        _HEAD,
        "_art32_names() {",
        f'    awk -v section="$1" -v key="$2" \'{_AWK}\' \\',
        '        "${ART32_CONFIG:-/etc/art32/agent.toml}" 2>/dev/null',
        "}",
        "",
        "_art32_command() {",
        "    verbs='' flags='' options='' argument=''",
        "    case $1 in",
    ]
    for one in known:
        lines.append(f"    {shlex.quote(' '.join(one.words))})")
        lines += [f"        {line}" for line in _bash_command(one)]
        lines.append("        ;;")
    lines += ["    esac", "}", "", "_art32_value() {", "    case $1:$2 in"]
    for one in known:
        for option in one.options:
            if option.value is not None and option.value.kind != "text":
                places = "|".join(
                    shlex.quote(f"{' '.join(one.words)}:{name}") for name in option.names
                )
                lines.append(f"    {places}) {_bash_value(option.value)} ;;")
    lines += ["    esac", "}", "", _BASH.replace("@NAMES@", _bash_names())]
    return "\n".join(lines)


def _bash_command(command: Command) -> Iterator[str]:
    flags = [name for one in command.options if one.value is None for name in one.names]
    valued = [name for one in command.options if one.value is not None for name in one.names]
    if command.verbs:
        yield f"verbs={shlex.quote(' '.join(command.verbs))}"
    if flags:
        yield f"flags={shlex.quote(' '.join(flags))}"
    if valued:
        yield f"options={shlex.quote(' '.join(valued))}"
    if command.arguments and command.arguments[0].kind != "text":
        yield f"argument='{command.arguments[0].kind}'"


def _bash_value(value: Value) -> str:
    if value.kind == "choice":
        return f"kind='choice' choices={shlex.quote(' '.join(value.choices))}"
    return f"kind='{value.kind}'"


def _bash_names() -> str:
    lines = [
        f"    {kind}) words=$(_art32_names '{section}' {key}) ;;"
        for kind, (section, key) in NAMES.items()
    ]
    lines += [
        f"    check) words={shlex.quote(' '.join(checks()))} ;;",
        "    runbook)",
        f"        for word in {_RUNBOOKS}/[a-z]*.md; do",
        "            [[ -e $word ]] || continue",
        "            word=${word##*/}",
        '            words="$words ${word%.md}"',
        "        done",
        "        ;;",
    ]
    return "\n".join(lines)


_BASH = """\
_art32() {
    local cur=${COMP_WORDS[COMP_CWORD]} path='' option='' kind='' words='' word i
    local verbs flags options argument choices=''
    COMPREPLY=()
    [[ $cur != '=' ]] || cur=''
    _art32_command ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $option ]]; then
            # readline takes the sign of --name=value for a word
            [[ $word == '=' ]] || option=''
        elif [[ $word == -* ]]; then
            [[ " $options " != *" $word "* ]] || option=$word
        elif [[ " $verbs " == *" $word "* ]]; then
            path=${path:+$path }$word
            _art32_command "$path"
        fi
    done
    if [[ -n $option ]]; then
        _art32_value "$path" "$option"
    elif [[ $cur == -* ]]; then
        words="$flags $options"
    elif [[ -n $verbs ]]; then
        words=$verbs
    else
        kind=$argument
    fi
    case $kind in
    choice) words=$choices ;;
    file | directory)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen "-${kind:0:1}" -- "$cur")
        return
        ;;
@NAMES@
    esac
    for word in $words; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}

complete -F _art32 art32
"""


def zsh() -> str:
    """Return the file for zsh's own completion system: one function a verb."""
    lines = ["#compdef art32", _HEAD]
    lines += [
        "_art32_names() {",
        "    local -a found",
        f"    found=(${{(f)\"$(awk -v section=$2 -v key=$3 '{_AWK}' \\",
        '        ${ART32_CONFIG:-/etc/art32/agent.toml} 2>/dev/null)"})',
        "    _describe -t $1s $1 found",
        "}",
        "",
        "_art32_runbook() {",
        "    local -a found",
        f"    found=({_RUNBOOKS}/[a-z]*.md(N:t:r))",
        "    _describe -t runbooks runbook found",
        "}",
        "",
    ]
    for one in commands():
        lines += [f"{_function(one.words)}() {{", *_zsh_command(one), "}", ""]
    return "\n".join([*lines, '_art32 "$@"', ""])


def _function(words: tuple[str, ...]) -> str:
    return "_".join(("_art32", *words)).replace("-", "_")


def _zsh_command(command: Command) -> Iterator[str]:
    specifications = [text for one in command.options for text in _zsh_option(one)]
    if not command.verbs:
        for number, value in enumerate(command.arguments, 1):
            place = "*" if value.many else str(number)
            specifications.append(_zsh_quote(f"{place}:{value.word}:{_zsh_action(value)}"))
        yield "    _arguments -S \\"
        yield from _joined(specifications)
        return
    yield '    local curcontext="$curcontext" state line'
    yield "    local -a verbs"
    yield "    _arguments -C -S \\"
    yield from _joined([*specifications, "'1:verb:->verb'", "'*::argument:->rest'"])
    yield "    case $state in"
    yield "    verb)"
    yield "        verbs=("
    for name, text in command.verbs.items():
        yield f"            {_zsh_quote(name + ':' + text)}"
    yield "        )"
    yield "        _describe -t verbs verb verbs"
    yield "        ;;"
    yield "    rest)"
    yield "        case $words[1] in"
    for name in command.verbs:
        yield f"        {name}) {_function((*command.words, name))} ;;"
    yield "        esac"
    yield "        ;;"
    yield "    esac"


def _joined(specifications: list[str]) -> Iterator[str]:
    for number, text in enumerate(specifications, 1):
        yield f"        {text}" + (" \\" if number < len(specifications) else "")


def _zsh_option(option: Option) -> Iterator[str]:
    text = "".join(f"\\{sign}" if sign in "[]\\:" else sign for sign in _short(option.text))
    value = option.value
    more = "" if value is None else f":{value.word.replace(':', ' ')}:{_zsh_action(value)}"
    others = "*" if option.repeated else f"({' '.join(option.names)})"
    for name in option.names:
        sign = "=" if value is not None and name.startswith("--") else ""
        yield _zsh_quote(f"{others}{name}{sign}[{text}]{more}")


def _zsh_action(value: Value) -> str:
    if value.kind in NAMES:
        section, key = NAMES[value.kind]
        # the space: no arguments of compadd's are put in between
        return f" _art32_names {value.kind} '{section}' {key}"
    simple = {
        "file": "_files",
        "directory": "_files -/",
        "runbook": "_art32_runbook",
        "check": f"({' '.join(checks())})",
        "choice": f"({' '.join(value.choices)})",
    }
    return simple.get(value.kind, " ")


def _zsh_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish() -> str:
    """Return the file for fish 3.4 and newer."""
    known = list(commands())
    paths = [" ".join(one.words) for one in known if one.words]
    valued = [
        f"{' '.join(one.words)}:{name}"
        for one in known
        for option in one.options
        if option.value is not None
        for name in option.names
    ]
    lines = [
        _HEAD,
        f"set --global __art32_paths {' '.join(map(_fish_quote, paths))}",
        f"set --global __art32_valued {' '.join(map(_fish_quote, valued))}",
        _FISH.replace("@AWK@", _fish_quote(_AWK)),
        "complete --command art32 --no-files",
    ]
    for one in known:
        at = _fish_quote(f"__art32_at {' '.join(one.words)}".rstrip())
        begin = f"complete --command art32 --condition {at}"
        lines += [
            f"{begin} --arguments {name} --description {_fish_quote(text)}"
            for name, text in one.verbs.items()
        ]
        lines += [f"{begin} {_fish_option(option)}" for option in one.options]
        lines += [
            f"{begin} {found}" for value in one.arguments[:1] if (found := _fish_value(value))
        ]
    return "\n".join(lines) + "\n"


_FISH = """
function __art32_at --description 'Whether just these verbs have been typed'
    set --local path
    set --local value no
    for word in (commandline --tokenize --cut-at-cursor --current-process)[2..]
        if test $value = yes
            set value no
        else if contains -- "$path:$word" $__art32_valued
            set value yes
        else if contains -- (string join ' ' $path $word) $__art32_paths
            set path (string join ' ' $path $word)
        end
    end
    test "$path" = "$argv"
end

function __art32_names --argument-names section key
    set --local file /etc/art32/agent.toml
    test -n "$ART32_CONFIG"; and set file $ART32_CONFIG
    awk -v section=$section -v key=$key @AWK@ $file 2>/dev/null
end

function __art32_runbooks
    for file in /opt/art32/share/art32/runbooks/[a-z]*.md
        string replace --regex '.*/(.*)[.]md$' '$1' $file
    end
end
"""


def _fish_option(option: Option) -> str:
    words = [
        f"--long-option {name[2:]}" if name[:2] == "--" else f"--short-option {name[1:]}"
        for name in option.names
    ]
    if option.value is not None:
        found = _fish_value(option.value)
        words += ["--require-parameter" if found == "--force-files" else "--exclusive", found]
    words.append(f"--description {_fish_quote(_short(option.text))}")
    return " ".join(word for word in words if word)


def _fish_value(value: Value) -> str:
    if value.kind in NAMES:
        section, key = NAMES[value.kind]
        return f"--arguments {_fish_quote(f'(__art32_names {_fish_quote(section)} {key})')}"
    simple = {
        "file": "--force-files",
        "directory": f"--arguments {_fish_quote('(__fish_complete_directories)')}",
        "runbook": f"--arguments {_fish_quote('(__art32_runbooks)')}",
        "check": f"--arguments {_fish_quote(' '.join(checks()))}",
        "choice": f"--arguments {_fish_quote(' '.join(value.choices))}",
    }
    return simple.get(value.kind, "")


def _fish_quote(text: str) -> str:
    """Quote for fish, where a backslash counts even between single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _short(text: str) -> str:
    """Return the first sentence of a help text, without its full stop."""
    return text.partition(". ")[0].partition("; ")[0].rstrip(".")


PLACES: dict[str, Callable[[], str]] = {
    "bash-completion/completions/art32": bash,
    "zsh/vendor-completions/_art32": zsh,
    "fish/vendor_completions.d/art32.fish": fish,
}


def main(arguments: list[str]) -> int:
    """Write the files below a directory such as /usr/share; return the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: scripts/completions.py DIRECTORY", file=sys.stderr)
        return 2
    for name, text in PLACES.items():
        path = Path(arguments[0]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
