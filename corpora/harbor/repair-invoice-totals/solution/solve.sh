#!/bin/bash
cd /app

cat > invoice.py <<'END'
import sys


def total(lines):
    amount = 0
    for line in lines:
        if line.strip():
            quantity, price, *discount = map(float, line.split(","))
            amount += quantity * price * (1 - (discount[0] if discount else 0) / 100)
    return round(amount, 2)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(total(file))
END

python3 invoice.py lines.csv
