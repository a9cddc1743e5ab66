# $1 is how many versions there are afterwards: 1 at the first installation, 2 at an upgrade.
if [ -f /etc/systemd/system/whatisup.service ]; then
    echo 'whatisup: /etc/systemd/system/whatisup.service hides the service of this package; remove it if that is not meant.'
fi
if command -v systemctl >/dev/null 2>&1; then
    # Whether it starts by itself is the distribution's choice; most leave it to you: systemctl enable --now whatisup
    [ "$1" -ne 1 ] || systemctl --no-reload preset whatisup.service >/dev/null 2>&1 || :
    [ ! -d /run/systemd/system ] || systemctl daemon-reload >/dev/null 2>&1 || :
fi
