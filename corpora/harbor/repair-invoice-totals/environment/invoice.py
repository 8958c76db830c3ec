import sys


def total(lines):
    amount = 0
    for line in lines:
        values = line.split(",")
        if len(values) != 2:
            continue
        amount += float(values[0]) * float(values[1])
    return amount


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(total(file))
