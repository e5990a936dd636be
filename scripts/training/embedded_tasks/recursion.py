"""Tasks on recursion."""

from __future__ import annotations

import math

from embedded_tasks.template import COUNTS, LISTS0, STRINGS, Template, task

RECURSION_TASKS: tuple[Template, ...] = (
    task(
        "recursion/factorial",
        "factorial fact product_to",
        """returns the factorial of n
            computes the factorial of a number with recursion
            takes n and returns its factorial
            calculates the factorial of n recursively
            returns the factorial of a number""",
        "def $name(n):\n    if n <= 1:\n        return 1\n    return n * $name(n - 1)",
        lambda n: math.prod(range(1, n + 1)),
        COUNTS,
    ),
    task(
        "recursion/fibonacci",
        "fibonacci fib nth_fibonacci",
        """returns the n-th Fibonacci number
            computes the n-th Fibonacci number with recursion
            takes n and returns the n-th Fibonacci number
            calculates Fibonacci number n recursively
            returns Fibonacci number n""",
        "def $name(n):\n    if n < 2:\n        return n\n    return $name(n - 1) + $name(n - 2)",
        lambda n: [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144][n],
        ((0,), (1,), (2,), (7,), (12,)),
    ),
    task(
        "recursion/sum_recursive",
        "recursive_sum sum_down add_recursive",
        """returns the sum of the numbers from 1 to n with recursion
            adds all numbers from 1 to n recursively
            takes n and returns the sum of 1 to n recursively
            computes the sum of all numbers from 1 up to n with recursion
            sums up the numbers from 1 to n recursively""",
        "def $name(n):\n    if n <= 0:\n        return 0\n    return n + $name(n - 1)",
        lambda n: sum(range(n + 1)),
        COUNTS,
    ),
    task(
        "recursion/power_recursive",
        "recursive_power power_of pow_recursive",
        """returns the base to the power n with recursion
            computes the base to the power n recursively
            takes a base and n and returns the power with recursion
            raises the base to the power n recursively
            calculates the power of a base and n with recursion""",
        "def $name(base, n):\n    if n == 0:\n        return 1\n"
        "    return base * $name(base, n - 1)",
        lambda base, n: base**n,
        ((2, 0), (2, 8), (3, 3), (10, 2)),
    ),
    task(
        "recursion/gcd",
        "gcd common_divisor greatest_divisor",
        """returns the greatest common divisor of two numbers
            computes the greatest common divisor of a and b
            takes two numbers and returns their greatest common divisor
            finds the greatest common divisor of two numbers recursively
            calculates the greatest common divisor with recursion""",
        "def $name(a, b):\n    if b == 0:\n        return a\n    return $name(b, a % b)",
        lambda a, b: max(i for i in range(1, max(a, b) + 1) if a % i == b % i == 0),
        ((12, 18), (7, 5), (100, 75), (9, 0)),
    ),
    task(
        "recursion/reverse_recursive",
        "recursive_reverse reverse_text turn_around",
        """reverses a string with recursion
            returns a string backwards with recursion
            takes a string and returns it reversed recursively
            reverses the given text recursively
            recursively reverses a string""",
        'def $name(text):\n    if text == "":\n        return ""\n'
        "    return $name(text[1:]) + text[0]",
        lambda s: s[::-1],
        STRINGS,
    ),
    task(
        "recursion/list_recursive",
        "recursive_total sum_list_recursive total_recursive",
        """returns the sum of a list with recursion
            adds all numbers in a list recursively
            takes a list and returns the sum of its numbers with recursion
            computes the sum of a list recursively
            sums up the numbers of a list with recursion""",
        "def $name(numbers):\n    if not numbers:\n        return 0\n"
        "    return numbers[0] + $name(numbers[1:])",
        sum,
        LISTS0,
    ),
    task(
        "recursion/list_length",
        "recursive_length count_recursive length_recursive",
        """returns the length of a list with recursion
            counts the items of a list recursively
            takes a list and returns its length with recursion
            computes the length of a list recursively
            counts how many items a list has with recursion""",
        "def $name(items):\n    if not items:\n        return 0\n"
        "    return 1 + $name(items[1:])",
        len,
        LISTS0,
    ),
)
