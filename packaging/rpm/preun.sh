# $1 is how many versions there are afterwards: 0 when the last one is removed.
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null 2>&1; then
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now whatisup.service >/dev/null 2>&1 || :
    else
        systemctl --no-reload disable whatisup.service >/dev/null 2>&1 || :
    fi
fi
