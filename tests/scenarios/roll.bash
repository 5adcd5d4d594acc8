# A deploy hook whose targets are processes that listen: one a target, on the port that the file ports names.
# Writes down what it does; an older fence than the newest is refused. The file hold-TARGET keeps it at work.
set -u

port=$(sed -n "s/^$RAMPGATE_TARGET //p" ports)

note() { printf '%s %s %s\n' "$1" "$RAMPGATE_TARGET" "$RAMPGATE_VERSION" >>log; }

running() { curl --silent --fail --max-time 5 "http://127.0.0.1:$port/version"; }

still_mine() {
  highest=$(sort -n fences | tail -1)
  ((RAMPGATE_FENCE >= highest)) && return
  echo "fence $RAMPGATE_FENCE is older than $highest"
  exit 2
}

leave() {
  [[ -e pid-$RAMPGATE_TARGET ]] || return 0
  kill -KILL "$(<"pid-$RAMPGATE_TARGET")" 2>/dev/null
  while running >/dev/null; do sleep 0.02; done
  rm "pid-$RAMPGATE_TARGET"
}

case $RAMPGATE_ACTION in
  status)
    running || exit 1
    echo
    ;;
  ensure)
    echo "$RAMPGATE_FENCE" >>fences
    still_mine
    [[ $(running) == "$RAMPGATE_VERSION" ]] && exit 0
    note begin
    leave
    while [[ -e hold-$RAMPGATE_TARGET ]]; do sleep 0.02; done
    still_mine
    setsid "$PYTHON" -I -S target.py "$port" "$RAMPGATE_VERSION" "$PWD/sick-$RAMPGATE_TARGET-$RAMPGATE_VERSION" &
    echo $! >"pid-$RAMPGATE_TARGET"
    until running >/dev/null; do sleep 0.02; done
    note up
    ;;
  *) exit 2 ;;
esac
