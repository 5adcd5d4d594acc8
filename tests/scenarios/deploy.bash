# A deploy hook whose machine room is a file: a line for everything that happened there, in order.
# A line with an older fence than one before it is void, so a hook that outlived its gate changes nothing.
# The files hold-ensure and hold-retire keep a hook at work, stubborn makes it deaf to SIGTERM, spill shows what it knows.
# Where the file ports names a port for each slot, a version is a process that listens there.
set -u

note() {
  printf '%s %s %s %s %s\n' "$EPOCHREALTIME" "$1" "$RAMPGATE_SLOT" "$RAMPGATE_VERSION" "$RAMPGATE_FENCE" >>log
}

look() {
  running='' highest=0
  while read -r _ what slot version fence; do
    ((fence < highest)) && continue
    highest=$fence
    [[ $slot == "$RAMPGATE_SLOT" ]] || continue
    case $what in
      begin) [[ $version == "$running" ]] || running='' ;;
      up) running=$version ;;
      down) running='' ;;
    esac
  done <log
}

hold_on() {
  while [[ -e hold-$RAMPGATE_ACTION ]]; do sleep 0.02; done
}

still_mine() {
  look
  ((RAMPGATE_FENCE < highest)) || return 0
  echo "fence $RAMPGATE_FENCE is older than $highest: another gate has taken over"
  exit 2
}

there() {
  while read -r slot port && [[ $slot != "$RAMPGATE_SLOT" ]]; do :; done <ports
  version='' line=''
  {
    printf 'GET /version HTTP/1.1\r\n\r\n' >&3
    while read -r line || [[ -n $line ]]; do version=$line; done <&3
  } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$port"
  [[ -n $version ]] && echo "$version"
}

leave() {
  [[ -e pid-$RAMPGATE_SLOT ]] || return 0
  kill -KILL "$(<"pid-$RAMPGATE_SLOT")" 2>/dev/null
  while there >/dev/null; do sleep 0.02; done
  rm "pid-$RAMPGATE_SLOT"
}

come() {
  leave
  while read -r slot port && [[ $slot != "$RAMPGATE_SLOT" ]]; do :; done <ports
  setsid "$PYTHON" -I -S target.py "$port" "$RAMPGATE_VERSION" "$PWD/sick-$RAMPGATE_VERSION" &
  echo $! >"pid-$RAMPGATE_SLOT"
  until there >/dev/null; do sleep 0.02; done
}

[[ -e spill ]] && export -p >>environ
[[ -e stubborn ]] && trap '' TERM
case $RAMPGATE_ACTION in
  status)
    look
    [[ -e ports ]] && running=$(there)
    [[ -n $running ]] || exit 1
    echo "$running"
    ;;
  ensure)
    still_mine
    [[ $running == "$RAMPGATE_VERSION" ]] && exit 0
    note begin
    hold_on
    still_mine
    [[ -e ports ]] && come
    note up
    ;;
  retire)
    still_mine
    note leave
    hold_on
    still_mine
    [[ -e ports ]] && leave
    note down
    ;;
  *) exit 2 ;;
esac
