#!/bin/sh
# Installs, upgrades and removes WhatIsUp: one program, and a service if this machine has systemd.
#
#   sh install.sh [--prefix DIR] [--version V] [--from URL|DIR] [--no-service|--user-service]
#                 [--dry-run] [--uninstall [--purge]] [--yes]
#
# All of it stands in one pair of braces, which a shell reads to its end before it does anything: half a download does
# nothing, wherever it broke off.
{
set -eu

# Where releases lie, and the key that signs them (a line for ssh-keygen's allowed_signers, without the name).
# packaging/release writes both into the copy that it publishes.
RELEASES=''
SIGNED_BY=''

NAME=whatisup
SIGNATURE_NAMESPACE=whatisup-release
SYSTEM_UNIT=/etc/systemd/system/$NAME.service
SYSTEM_STATE=/var/lib/$NAME

usage() {
    cat <<'END'
Installs WhatIsUp, upgrades it, or removes it.

  --prefix DIR     install to DIR/bin (default: /usr/local as root, else ~/.local)
  --version V      install this version (default: the newest)
  --from WHERE     take releases from this https address or folder
  --no-service     only the program, no systemd service
  --user-service   a service of this user, without root
  --dry-run        say what would be done, change nothing
  --uninstall      stop the service and remove the program; keys, links and messages stay
  --purge          with --uninstall: remove those too, for ever
  --yes            do not ask
  --help           this text

Running it again upgrades; with the same version it changes nothing and succeeds.
A service that you have stopped stays so.
END
}

say() { printf '%s\n' "$*"; }
warn() { printf 'install.sh: %s\n' "$*" >&2; }
fail() {
    warn "$1"
    exit "${2:-1}"
}
has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command, or only says it.
act() {
    if [ "$dry_run" = yes ]; then
        words=$*
        [ "$1" != systemd ] || words="$(in_words) ${words#* }"
        say "would run: $words"
    else
        "$@"
    fi
}

value_of() {
    [ -n "${2:-}" ] || fail "$1 needs a value; see --help" 2
    printf '%s' "$2"
}

read_options() {
    prefix='' version='' from=$RELEASES service=auto dry_run=no uninstall=no purge=no yes=no
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix)
                prefix=$(value_of "$@") || exit 2
                shift
                ;;
            --prefix=*) prefix=${1#*=} ;;
            --version)
                version=$(value_of "$@") || exit 2
                shift
                ;;
            --version=*) version=${1#*=} ;;
            --from)
                from=$(value_of "$@") || exit 2
                shift
                ;;
            --from=*) from=${1#*=} ;;
            --no-service) service=none ;;
            --user-service) service=user ;;
            --dry-run) dry_run=yes ;;
            --uninstall) uninstall=yes ;;
            --purge) purge=yes ;;
            --yes | -y) yes=yes ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) fail "unknown option $1; see --help" 2 ;;
        esac
        shift
    done
    [ "$purge" = no ] || [ "$uninstall" = yes ] || fail '--purge goes with --uninstall' 2
    version=${version#v}
    case $version in
        *[!0-9A-Za-z.+-]* | .*) fail "$version is no version" 2 ;;
    esac
    from=${from%/}
}

choose_places() {
    me=$(id -u)
    if [ -z "$prefix" ]; then
        if [ "$me" = 0 ]; then
            prefix=/usr/local
        else
            [ -n "${HOME:-}" ] || fail 'HOME is not set; say where to install: --prefix DIR' 2
            prefix=$HOME/.local
        fi
    fi
    case $prefix in
        /*) ;;
        *) prefix=$PWD/$prefix ;;
    esac
    # These end up in a unit file, where they would mean something else.
    case $prefix in
        *[\ \"\'\\%\$\;]*) fail "--prefix $prefix: blanks, quotes and % \$ ; \\ are not supported in a path" 2 ;;
    esac
    program=$prefix/bin/$NAME
    if [ "$service" = auto ]; then
        service=none
        if has systemctl; then
            if [ "$me" = 0 ]; then service=system; else service=user; fi
        fi
    fi
    if [ "$service" = user ]; then
        has systemctl || fail '--user-service needs systemd, which is not here; use --no-service' 2
        unit=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/$NAME.service
        state=${XDG_STATE_HOME:-$HOME/.local/state}/$NAME
        settings=${XDG_CONFIG_HOME:-$HOME/.config}/$NAME
    else
        unit=$SYSTEM_UNIT
        state=$SYSTEM_STATE
        settings=/etc/$NAME
    fi
    [ "$service" != none ] || [ "$me" = 0 ] || state=${XDG_STATE_HOME:-${HOME:-}/.local/state}/$NAME
}

# The service manager that is meant, if it runs: in a container or chroot systemctl may be there and systemd not.
systemd() {
    if [ "$service" = user ]; then systemctl --user "$@"; else systemctl "$@"; fi
}
in_words() {
    if [ "$service" = user ]; then printf 'systemctl --user'; else printf systemctl; fi
}
systemd_runs() {
    if [ "$service" = user ]; then
        systemctl --user show-environment >/dev/null 2>&1
    else
        [ -d /run/systemd/system ]
    fi
}

ask() {
    [ "$yes" = no ] && [ "$dry_run" = no ] || return 0
    # The script itself may be standard input: the answer comes from the terminal.
    if ! (: </dev/tty) 2>/dev/null; then
        fail "$1 There is nobody to ask; say --yes."
    fi
    printf '%s [y/N] ' "$1" >/dev/tty
    read -r answer </dev/tty || answer=''
    case $answer in
        y | Y | yes) ;;
        *) fail 'Nothing was changed.' ;;
    esac
}

target_of_this_machine() {
    [ "$(uname -s)" = Linux ] || fail "WhatIsUp runs on Linux; this is $(uname -s)"
    machine=$(uname -m)
    # A 64-bit kernel under a 32-bit system, as older Raspberry Pi images have it.
    if has getconf && [ "$(getconf LONG_BIT 2>/dev/null)" = 32 ]; then
        case $machine in
            aarch64 | arm64) machine=armv7l ;;
            x86_64) machine=i686 ;;
        esac
    fi
    case $machine in
        x86_64 | amd64) target=x86_64-unknown-linux-musl ;;
        aarch64 | arm64) target=aarch64-unknown-linux-musl ;;
        armv7l | armv8l) target=armv7-unknown-linux-gnueabihf ;;
        *) fail "there is no build for $machine; build it from source with cargo" ;;
    esac
}

# fetch WHAT TO: from the folder or address of the releases.
fetch() {
    case $from in
        https://*)
            if has curl; then
                curl -fsSL --proto '=https' --proto-redir '=https' --retry 3 -o "$2" "$from/$1"
            elif has wget; then
                wget -q -O "$2" "$from/$1"
            else
                fail 'curl or wget is needed to download'
            fi
            ;;
        http://127.0.0.1[:/]* | http://localhost[:/]* | 'http://[::1]'[:/]*)
            if has curl; then curl -fsS -o "$2" "$from/$1"; else wget -q -O "$2" "$from/$1"; fi
            ;;
        http://*) fail "$from is not https; what comes over it could be anybody's" 2 ;;
        '') fail 'this copy does not know where releases are; say --from https://… or --from FOLDER' 2 ;;
        *) cp "$from/$1" "$2" 2>/dev/null ;;
    esac
}

newest_version() {
    fetch LATEST "$work/LATEST" || fail "cannot read $from/LATEST; is --from right, and is the network there?"
    version=$(head -n 1 "$work/LATEST" | tr -d ' \r')
    case $version in
        '' | *[!0-9A-Za-z.+-]* | .*) fail "$from/LATEST does not hold a version" ;;
    esac
}

sha256_of() {
    if has sha256sum; then
        sha256sum "$1" | cut -d ' ' -f 1
    elif has shasum; then
        shasum -a 256 "$1" | cut -d ' ' -f 1
    elif has openssl; then
        openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
    else
        fail 'sha256sum, shasum or openssl is needed to check the download'
    fi
}

# The checksums are checked always. Their signature is checked where the key is known and ssh-keygen is there; a wrong
# one ends everything, a missing possibility is said.
check() {
    expected=$(awk -v file="$1" '$2 == file || $2 == "*" file { print $1; exit }' "$work/SHA256SUMS")
    [ -n "$expected" ] || fail "SHA256SUMS of $version does not list $1; the release is incomplete"
    actual=$(sha256_of "$work/$1")
    [ "$actual" = "$expected" ] || fail "$1 is damaged or not the released one: SHA-256 is $actual, should be $expected. Nothing was changed."
}

check_signature() {
    if [ -z "$SIGNED_BY" ]; then
        say 'Signature: not checked, this copy of install.sh has no key.'
    elif ! has ssh-keygen; then
        say 'Signature: not checked, ssh-keygen is not installed.'
    else
        fetch "$version/SHA256SUMS.sig" "$work/SHA256SUMS.sig" || fail "release $version has no signature, but should have one. Nothing was changed."
        printf 'release %s\n' "$SIGNED_BY" >"$work/signers"
        ssh-keygen -Y verify -f "$work/signers" -I release -n "$SIGNATURE_NAMESPACE" -s "$work/SHA256SUMS.sig" \
            <"$work/SHA256SUMS" >/dev/null 2>&1 || fail "the signature of release $version is wrong. Nothing was changed."
        say 'Signature: good.'
    fi
}

installed_version() {
    [ -x "$program" ] || return 0
    "$program" --version 2>/dev/null | awk '{ print $2; exit }'
}

write_unit() {
    packed=$work/$package/whatisup.service
    [ "$service" != user ] || packed=$work/$package/whatisup-user.service
    [ -f "$packed" ] || fail "release $version brings no service file; use --no-service"
    sed "s|^ExecStart=[^ ]*|ExecStart=$program|" "$packed" >"$work/unit"
    if [ -f "$unit" ] && cmp -s "$work/unit" "$unit"; then return 0; fi
    act mkdir -p "$(dirname "$unit")"
    if [ "$dry_run" = yes ]; then
        say "would write: $unit"
    else
        cp "$work/unit" "$unit.new" && chmod 0644 "$unit.new" && mv -f "$unit.new" "$unit"
    fi
}

# A new service starts, one that runs or wants to run gets the new program, and one that somebody has stopped stays so.
start_service() {
    if ! systemd_runs; then
        # As in an image that is being built; units can be enabled there too.
        if [ "$was_there" = no ] && act systemd enable -q "$NAME" 2>/dev/null; then
            say 'systemd does not run here: the service starts with the next boot.'
        else
            say "systemd does not run here. Where it does: $(in_words) enable --now $NAME"
        fi
        return 0
    fi
    act systemd daemon-reload
    [ "$was_there" = yes ] || act systemd enable -q "$NAME"
    if [ "$was_there" = yes ] && [ "$(systemd show -p ActiveState --value "$NAME" 2>/dev/null)" = inactive ]; then
        say "The service is stopped, and stays so. To start it: $(in_words) start $NAME"
    else
        # Also one that a package had started: its unit is hidden by the one that was written.
        act systemd restart "$NAME" || fail "the service does not start; $(in_words) status $NAME says why"
    fi
    if [ "$service" = user ] && has loginctl && [ "$(loginctl show-user "$me" -p Linger --value 2>/dev/null)" != yes ]; then
        say 'It stops when you log out; to keep it running: loginctl enable-linger'
    fi
}

put_program() {
    act mkdir -p "$prefix/bin"
    if [ "$dry_run" = yes ]; then
        say "would write: $program"
        return 0
    fi
    # Beside its place, so that the last step is one rename: whoever looks sees the old program or the new one.
    fresh=$program.new.$$
    cp "$work/$package/$NAME" "$fresh" || fail "cannot write to $prefix/bin; run as root, or choose --prefix"
    chmod 0755 "$fresh"
    if ! "$fresh" --version >/dev/null 2>&1; then
        rm -f "$fresh"
        case $target in
            *-gnueabihf) fail "the program does not run on this machine: for $target it needs glibc 2.28 or newer. Nothing was changed." ;;
            *) fail "the program does not run on this machine ($target). Nothing was changed." ;;
        esac
    fi
    mv -f "$fresh" "$program"
}

# Manual pages and completions, where shells and man look for them.
extras='share/man/man1 share/bash-completion/completions share/zsh/site-functions share/fish/vendor_completions.d'
put_extras() {
    for folder in $extras; do
        [ -d "$work/$package/$folder" ] || continue
        act mkdir -p "$prefix/$folder"
        for file in "$work/$package/$folder"/*; do act cp -f "$file" "$prefix/$folder/"; done
    done
}
remove_extras() {
    for folder in $extras; do
        for file in "$prefix/$folder/$NAME" "$prefix/$folder/_$NAME" "$prefix/$folder/$NAME"[-.]*; do
            [ ! -f "$file" ] || act rm -f "$file"
        done
    done
}

next_lines() {
    run=$NAME
    case :$PATH: in
        *:"$prefix/bin":*) ;;
        *) run=$program ;;
    esac
    say ''
    say 'Next:'
    if [ "$service" = none ]; then
        say "  $run serve                      # starts it; the log prints a link to set it up"
    elif [ "$service" = user ]; then
        say "  journalctl --user -u $NAME -f   # what it is doing"
    else
        say "  journalctl -u $NAME -f          # what it is doing"
    fi
    say "  $run setup-link                 # open this link: choose a password, link the first phone"
    say "  $run keys create --name first   # a key for your programs"
}

install() {
    target_of_this_machine
    [ -n "$version" ] || newest_version
    package=$NAME-$version-$target
    old=$(installed_version)
    if [ "$old" = "$version" ] && { [ "$service" = none ] || [ -f "$unit" ]; }; then
        say "WhatIsUp $version is installed already: $program"
        next_lines
        return 0
    fi
    say "WhatIsUp $version for $target, from $from"
    fetch "$version/SHA256SUMS" "$work/SHA256SUMS" || fail "there is no release $version at $from"
    check_signature
    fetch "$version/$package.tar.gz" "$work/$package.tar.gz" || fail "release $version has no build for $target"
    check "$package.tar.gz"
    say 'Checksum: good.'
    mkdir "$work/$package"
    tar -xzf "$work/$package.tar.gz" -C "$work/$package" --strip-components=1 || fail "$package.tar.gz cannot be unpacked"
    put_program
    put_extras
    if [ "$service" != none ]; then
        was_there=no
        [ ! -f "$unit" ] || was_there=yes
        write_unit
        start_service
    fi
    if [ "$dry_run" = yes ]; then
        say 'Nothing was changed.'
    elif [ -n "$old" ]; then
        say "Upgraded $program from $old to $version."
    else
        say "Installed $program."
    fi
    next_lines
}

uninstall() {
    question="Remove $program? What it stores in $state stays."
    [ "$purge" = no ] || question="Remove $program and everything in $state: keys, links to phones, messages? This cannot be undone."
    ask "$question"
    if [ "$service" != none ] && [ -f "$unit" ]; then
        if systemd_runs; then
            act systemd disable --now "$NAME" || warn 'the service could not be stopped'
        else
            act systemd disable -q "$NAME" 2>/dev/null || :
        fi
        act rm -f "$unit"
        if systemd_runs; then act systemd daemon-reload; fi
    fi
    act rm -f "$program"
    remove_extras
    if [ "$purge" = yes ]; then
        # A dynamic user's folder is a link to its private place.
        [ "$service" != system ] || act rm -rf "/var/lib/private/$NAME"
        act rm -rf "$state"
        # The service made it, for settings; what somebody wrote stays.
        if [ "$service" != none ] && [ -d "$settings" ] && ! act rmdir "$settings" 2>/dev/null; then
            say "Your settings are still in $settings."
        fi
        say "Removed WhatIsUp and $state. Linked phones still list the device: remove it there, under Linked devices."
    else
        say "Removed WhatIsUp. Its keys, links and messages are still in $state; --uninstall --purge removes them too."
    fi
}

main() {
    read_options "$@"
    choose_places
    if [ "$uninstall" = yes ]; then
        uninstall
        return 0
    fi
    has tar || fail 'tar is needed'
    work=$(mktemp -d) || fail 'there is no room for temporary files'
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    install
}

main "$@"
}
