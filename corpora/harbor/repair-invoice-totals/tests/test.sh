#!/bin/bash
# The agent's program runs in a folder of its own, and only what it prints counts.
cd /app || exit 1
right=0
check() {
    printf '%b' "$1" >/tmp/lines.csv
    found=$(timeout 10 python3 -P -I invoice.py /tmp/lines.csv)
    if [ "$found" = "$2" ]; then right=$((right + 1)); else echo "for $1: expected $2, got $found"; fi
}
check '3,4.00\n2,10.50\n\n1,2.00,25\n' 34.5
check '1,0.10\n2,0.10\n' 0.3
check '\n\n10,9.99,10\n' 89.91
case $right in
    3) echo 1 ;;
    *) echo "0.$((right * 3))" ;;
esac >/logs/verifier/reward.txt
[ "$right" = 3 ]
