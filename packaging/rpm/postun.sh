# $1 is how many versions there are afterwards: 0 when the last one is removed.
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
    systemctl daemon-reload >/dev/null 2>&1 || :
    [ "$1" -eq 0 ] || systemctl try-restart whatisup.service >/dev/null 2>&1 || :
fi
# Links to phones cannot be made again by installing again, so that they go is said by a person, not by a package.
if [ "$1" -eq 0 ] && [ -d /var/lib/whatisup ]; then
    echo 'whatisup: its keys, links to phones and messages are kept in /var/lib/whatisup. To delete them for ever:'
    echo '    rm -rf /var/lib/private/whatisup /var/lib/whatisup'
fi
