"""Tasks on loops."""

from __future__ import annotations

from embedded_tasks.template import COUNTS, K, Template, task

LOOP_TASKS: tuple[Template, ...] = (
    task(
        "loops/sum_to",
        "sum_to sum_range add_up_to",
        """returns the sum of the numbers from 1 to n
            adds all numbers from 1 to n in a loop
            takes n and returns the sum of 1 to n
            computes the sum of all numbers from 1 up to n
            sums up the numbers from 1 to n with a loop""",
        "def $name(n):\n    total = 0\n    for i in range(1, n + 1):\n"
        "        total += i\n    return total",
        lambda n: n * (n + 1) // 2,
        COUNTS,
    ),
    task(
        "loops/sum_squares_to",
        "sum_of_squares squares_to add_squares",
        """returns the sum of the squares from 1 to n
            adds the squares of all numbers from 1 to n
            takes n and returns the sum of the squares of 1 to n
            computes the sum of all squares from 1 up to n
            sums up the squares of the numbers from 1 to n""",
        "def $name(n):\n    total = 0\n    for i in range(1, n + 1):\n"
        "        total += i * i\n    return total",
        lambda n: n * (n + 1) * (2 * n + 1) // 6,
        COUNTS,
    ),
    task(
        "loops/count_multiples",
        "count_multiples multiples_up_to how_many_multiples",
        """counts the multiples of $k from 1 to n
            returns how many numbers from 1 to n are divisible by $k
            takes n and counts the multiples of $k from 1 to n
            counts the numbers from 1 to n that are divisible by $k
            computes how many multiples of $k are in the range from 1 to n""",
        "def $name(n):\n    count = 0\n    for i in range(1, n + 1):\n"
        "        if i % $k == 0:\n            count += 1\n    return count",
        lambda n, k: n // k,
        ((1,), (10,), (37,), (100,), (250,)),
        K,
    ),
    task(
        "loops/digit_sum",
        "digit_sum sum_digits add_digits",
        """returns the sum of the digits of a number
            adds the digits of a number
            takes a number and returns the sum of its digits
            computes the digit sum of a number
            sums up the digits of a number""",
        "def $name(n):\n    total = 0\n    while n > 0:\n        total += n % 10\n"
        "        n //= 10\n    return total",
        lambda n: sum(map(int, str(n))),
        ((0,), (7,), (19,), (305,), (98765,)),
    ),
    task(
        "loops/count_digits",
        "count_digits digit_count number_of_digits",
        """counts the digits of a positive number
            returns the number of digits of a positive number
            takes a positive number and counts its digits
            computes how many digits a positive number has
            returns how many digits a positive number has""",
        "def $name(n):\n    count = 0\n    while n > 0:\n        count += 1\n"
        "        n //= 10\n    return count",
        lambda n: len(str(n)),
        ((1,), (10,), (999,), (12345,)),
    ),
    task(
        "loops/countdown",
        "countdown count_down down_from",
        """returns a list that counts down from n to 1
            counts down from n to 1 and returns the numbers in a list
            takes n and returns a list of the numbers from n down to 1
            builds a list of the numbers from n down to 1
            gives the list of numbers that counts down from n to 1""",
        "def $name(n):\n    result = []\n    while n > 0:\n        result.append(n)\n"
        "        n -= 1\n    return result",
        lambda n: list(range(n, 0, -1)),
        COUNTS,
    ),
    task(
        "loops/multiples",
        "multiples table times_table",
        """returns a list of the first n multiples of $k
            builds a list of the first n multiples of $k
            takes n and returns the first n multiples of $k
            gives the first n multiples of $k in a list
            computes the first n multiples of $k""",
        "def $name(n):\n    result = []\n    for i in range(1, n + 1):\n"
        "        result.append(i * $k)\n    return result",
        lambda n, k: list(range(k, k * n + 1, k)),
        COUNTS,
        K,
    ),
    task(
        "loops/is_prime",
        "is_prime prime check_prime",
        """checks if a number is prime
            returns True if a number is prime
            tests whether a number is a prime number
            returns whether its argument is prime
            takes a number and checks whether it is prime""",
        "def $name(n):\n    if n < 2:\n        return False\n    for i in range(2, n):\n"
        "        if n % i == 0:\n            return False\n    return True",
        lambda n: n > 1 and all(n % i for i in range(2, n)),
        ((0,), (1,), (2,), (9,), (13,), (21,), (97,)),
    ),
)
