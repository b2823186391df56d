import sys

from .count import count


def main():
    with open(sys.argv[1]) as f:
        for word, n in sorted(count(f.read()).items()):
            print(f"{n:6} {word}")


if __name__ == "__main__":
    main()
