#!/usr/bin/env bash
# A private PostgreSQL for tests and the demo: its own folder, a free port of loopback, a random password. Nothing of the machine's own is touched.
#
#   scripts/postgres-for-tests.sh start [FOLDER]   prints the connection string, alone, on standard output
#   scripts/postgres-for-tests.sh database NAME [FOLDER]   makes one more database on it, and prints its connection string
#   scripts/postgres-for-tests.sh stop  [FOLDER]   ends the server and removes the folder
#
# Ends with 0, with 1 when it failed, 2 for wrong usage, 3 when PostgreSQL is not installed.
set -euo pipefail

say() { printf 'postgres-for-tests: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

usage() {
    say "usage: $0 start|stop [FOLDER], or $0 database NAME [FOLDER]"
    exit 2
}

action=${1:-}
case $action in
start | stop)
    [[ $# -le 2 ]] || usage
    ;;
database)
    [[ $# -ge 2 && $# -le 3 && $2 =~ ^[a-z][a-z0-9_]{0,62}$ ]] || usage
    name=$2
    shift
    ;;
*)
    usage
    ;;
esac
folder=${2:-${TMPDIR:-/tmp}/fabric-postgres-for-tests-$(id -u)}
data=$folder/data
connection=$folder/connection-string

# The folder's marker: stop removes what has it, and nothing else.
marker=$folder/made-by-postgres-for-tests

# Debian keeps the server's programs out of the path.
programs() {
    local found
    if found=$(command -v initdb); then
        dirname "$(readlink -f "$found")"
        return
    fi
    for found in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) /usr/local/pgsql/bin; do
        if [[ -x $found/initdb && -x $found/pg_ctl ]]; then
            printf '%s\n' "$found"
            return
        fi
    done
    return 1
}

if ! bin=$(programs); then
    say "PostgreSQL is not installed here (no initdb in the path or in /usr/lib/postgresql); on Debian: apt-get install postgresql."
    exit 3
fi

# The server refuses to run as root.
server_user=$(id -un)
if [[ $(id -u) -eq 0 ]]; then
    server_user=nobody
    if id -u postgres >/dev/null 2>&1; then
        server_user=postgres
    fi
fi

as_server() {
    if [[ $(id -u) -eq 0 ]]; then
        # From a folder that the other user may be in; initdb looks where it is.
        (cd / && exec runuser -u "$server_user" -- "$@")
    else
        "$@"
    fi
}

is_ours() { [[ -f $marker && $(stat -c %U "$folder") == "$server_user" ]]; }

is_running() { as_server "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1; }

remove() {
    if is_running; then
        as_server "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || fail "the server in $folder does not stop; look at $folder/log."
    fi
    rm -rf -- "$folder"
}

# A port that nobody listens on, below those that the system gives out by itself. Somebody may be quicker: the caller tries again.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
}

start_server() {
    local attempt port
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        # Three control nodes with a connection pool each; no socket file, so that no two servers can meet.
        if as_server "$bin/pg_ctl" -D "$data" -l "$folder/log" -w -t 60 \
            -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c max_connections=400" start >/dev/null 2>&1 </dev/null; then
            printf '%s\n' "$port"
            return
        fi
        say "the server did not start on port $port (attempt $attempt)."
    done
    return 1
}

start() {
    if [[ -e $folder ]]; then
        is_ours || fail "$folder is there and was not made by this script for $server_user; move it away, or name another folder."
        if is_running && [[ -s $connection ]]; then
            cat "$connection"
            return
        fi
        say "$folder is left from a server that is gone; it is made anew."
        remove
    fi

    mkdir -m 700 -- "$folder" || fail "$folder could not be made; name another folder."
    trap 'remove' EXIT
    touch "$marker"
    local password port
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && printf '%s\n' "$password" >"$folder/password")
    if [[ $(id -u) -eq 0 ]]; then
        chown -R "$server_user" "$folder"
    fi
    as_server test -w "$folder" || fail "$server_user cannot write to $folder; name a folder below one that it may enter."

    as_server "$bin/initdb" -D "$data" -U fabric --pwfile="$folder/password" --auth=scram-sha-256 --encoding=UTF8 --no-locale >"$folder/initdb.log" 2>&1 ||
        fail "initdb failed: $(tail -n 3 "$folder/initdb.log" | tr '\n' ' ')"
    rm "$folder/password"
    port=$(start_server) || fail "the server does not start: $(tail -n 3 "$folder/log" 2>/dev/null | tr '\n' ' ')"
    (umask 077 && printf 'Host=127.0.0.1;Port=%s;Database=fabric;Username=fabric;Password=%s\n' "$port" "$password" >"$connection")
    make_database fabric
    trap - EXIT
    cat "$connection"
}

# What the connection string has of one key.
of_connection() { grep -oP "(?<=$1=)[^;]*" "$connection"; }

make_database() {
    PGPASSWORD=$(of_connection Password) "$bin/createdb" -h 127.0.0.1 -p "$(of_connection Port)" -U fabric "$1" >&2 ||
        fail "the server did not make the database $1; look at its answer above."
}

database() {
    [[ -s $connection ]] && is_running || fail "no server runs in $folder; start it first."
    make_database "$name"
    sed "s/;Database=[^;]*/;Database=$name/" "$connection"
}

stop() {
    if [[ ! -e $folder ]]; then
        say "there is nothing to stop in $folder."
        return
    fi
    is_ours || fail "$folder was not made by this script for $server_user, and is left alone."
    remove
}

"$action"
