#!/usr/bin/env bash
# kcat (librdkafka of the distribution) against one node: what a reader of the README does first.
set -uo pipefail
server=${HIGHWATER_SERVER:-127.0.0.1:9092}
topic=$1 # It exists.
passed=0 failed=0

case_of() { # name, then a command that must succeed
  local name=$1
  shift
  if "$@"; then
    echo "ok   kcat: $name"
    passed=$((passed + 1))
  else
    echo "FAIL kcat: $name"
    failed=$((failed + 1))
  fi
}
read_all() { kcat -q -b "$server" -C -t "$topic" -o beginning -e "$@"; }
writes_and_reads() {
  printf 'a:1\nb:2\nc:\n' | kcat -b "$server" -P -t "$topic" -p 0 -K: -z "$1" -X acks=all || return 1
  [ "$(read_all -K: | tail -3 | tr '\n' ' ')" = "a:1 b:2 c: " ]
}
lists() { kcat -b "$server" -L -t "$topic" | grep -q "partition 0, leader"; }
asks_by_time() { kcat -b "$server" -Q -t "$topic:0:-1" | grep -q "offset"; }
tails() { [ "$(kcat -q -b "$server" -C -t "$topic" -o -1 -e -K:)" = "c:" ]; }
headers() {
  echo x | kcat -b "$server" -P -t "$topic" -p 0 -H a=1 -H a=2 || return 1
  [ "$(kcat -q -b "$server" -C -t "$topic" -o -1 -e -f '%h %s\n')" = "a=1,a=2 x" ]
}

for codec in none gzip snappy lz4 zstd; do
  case_of "writes and reads, $codec" writes_and_reads "$codec"
done
case_of "lists" lists
case_of "asks by time" asks_by_time
case_of "reads the last record" tails
case_of "headers" headers
echo "kcat: $passed passed, $failed failed"
[ "$failed" = 0 ]
