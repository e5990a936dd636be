"""Tasks on conditions."""

from __future__ import annotations

from embedded_tasks.template import (
    INTS,
    PAIRS,
    RANGE,
    SMALL,
    TRIPLES,
    WORD,
    K,
    Template,
    between,
    near,
    task,
)

CONDITION_TASKS: tuple[Template, ...] = (
    task(
        "conditions/max_two",
        "larger bigger max_two",
        """returns the larger of two numbers
            takes two numbers and returns the larger one
            finds the maximum of two numbers
            returns the bigger of a and b
            computes the maximum of a and b""",
        "def $name(a, b):\n    if a > b:\n        return a\n    return b",
        max,
        PAIRS,
    ),
    task(
        "conditions/min_two",
        "smaller lesser min_two",
        """returns the smaller of two numbers
            takes two numbers and returns the smaller one
            finds the minimum of two numbers
            returns the lesser of a and b
            computes the minimum of a and b""",
        "def $name(a, b):\n    if a < b:\n        return a\n    return b",
        min,
        PAIRS,
    ),
    task(
        "conditions/max_three",
        "largest max_three biggest",
        """returns the largest of three numbers
            takes three numbers and returns the largest one
            finds the maximum of three numbers
            returns the biggest of a, b and c
            computes the maximum of a, b and c""",
        "def $name(a, b, c):\n    best = a\n    if b > best:\n        best = b\n"
        "    if c > best:\n        best = c\n    return best",
        lambda *abc: max(abc),
        TRIPLES,
    ),
    task(
        "conditions/clamp",
        "clamp limit restrict",
        """clamps a number between $low and $high
            limits a number to the range from $low to $high
            keeps a number between $low and $high
            takes a number and clamps it to the range from $low to $high
            returns the number limited to at least $low and at most $high""",
        "def $name(x):\n    if x < $low:\n        return $low\n    if x > $high:\n"
        "        return $high\n    return x",
        lambda x, low, high: min(max(x, low), high),
        between,
        RANGE,
    ),
    task(
        "conditions/in_range",
        "in_range between inside",
        """checks if a number is between $low and $high
            returns True if a number is between $low and $high
            tests whether a number is in the range from $low to $high
            checks whether a number is at least $low and at most $high
            returns whether a number is inside the range from $low to $high""",
        "def $name(x):\n    return $low <= x <= $high",
        lambda x, low, high: x in range(low, high + 1),
        between,
        RANGE,
    ),
    task(
        "conditions/sign",
        "sign direction signum",
        """returns the sign of a number as 1, 0 or -1
            returns 1 for a positive number, -1 for a negative number and 0 for zero
            computes the sign of a number
            takes a number and returns its sign
            gives 1 if a number is positive, -1 if it is negative and 0 if it is zero""",
        "def $name(x):\n    if x > 0:\n        return 1\n    if x < 0:\n"
        "        return -1\n    return 0",
        lambda x: (x > 0) - (x < 0),
        INTS,
    ),
    task(
        "conditions/is_even",
        "is_even even check_even",
        """checks if a number is even
            returns True if a number is even
            tests whether a number is even
            returns whether its argument is even
            takes a number and checks whether it is even""",
        "def $name(n):\n    return n % 2 == 0",
        lambda n: not n & 1,
        INTS,
    ),
    task(
        "conditions/is_odd",
        "is_odd odd check_odd",
        """checks if a number is odd
            returns True if a number is odd
            tests whether a number is odd
            returns whether its argument is odd
            takes a number and checks whether it is odd""",
        "def $name(n):\n    return n % 2 == 1",
        lambda n: bool(n & 1),
        INTS,
    ),
    task(
        "conditions/divisible",
        "divisible is_multiple divides",
        """checks if a number is divisible by $k
            returns True if a number is a multiple of $k
            tests whether a number is divisible by $k
            returns whether its argument is a multiple of $k
            takes a number and checks whether it is divisible by $k""",
        "def $name(n):\n    return n % $k == 0",
        lambda n, k: n == n // k * k,
        near,
        K,
    ),
    task(
        "conditions/greater",
        "is_large above exceeds",
        """checks if a number is greater than $k
            returns True if a number is greater than $k
            tests whether a number is larger than $k
            returns whether its argument is above $k
            takes a number and checks whether it is larger than $k""",
        "def $name(x):\n    return x > $k",
        lambda x, k: x > k,
        near,
        K,
    ),
    task(
        "conditions/less",
        "is_small below under",
        """checks if a number is less than $k
            returns True if a number is less than $k
            tests whether a number is smaller than $k
            returns whether its argument is below $k
            takes a number and checks whether it is smaller than $k""",
        "def $name(x):\n    return x < $k",
        lambda x, k: x < k,
        near,
        K,
    ),
    task(
        "conditions/absolute",
        "absolute abs_value magnitude",
        """returns the absolute value of a number
            computes the absolute value of its argument
            takes a number and returns its absolute value
            gives the absolute value of a number without using abs
            finds the absolute value of a number""",
        "def $name(x):\n    if x < 0:\n        return -x\n    return x",
        abs,
        INTS,
    ),
    task(
        "conditions/pass_fail",
        "grade verdict pass_or_fail",
        """returns "pass" if a score is at least $k and "fail" otherwise
            takes a score and returns "pass" for $k or more and "fail" for less
            gives "pass" for scores of at least $k, otherwise "fail"
            returns "fail" if a score is below $k and "pass" otherwise
            decides "pass" or "fail" for a score, where $k or more is a pass""",
        'def $name(score):\n    if score >= $k:\n        return "pass"\n    return "fail"',
        lambda score, k: "fail" if score < k else "pass",
        near,
        K,
    ),
    task(
        "conditions/word_if_divisible",
        "fizz label_multiple word_or_number",
        """returns "$w" if a number is divisible by $k and the number otherwise
            takes a number and returns "$w" for a multiple of $k, otherwise the number
            gives "$w" when the number is a multiple of $k and the number itself otherwise
            returns the word "$w" for multiples of $k and otherwise the number itself
            returns "$w" for a number divisible by $k, otherwise the number""",
        'def $name(n):\n    if n % $k == 0:\n        return "$w"\n    return n',
        lambda n, k, w: n if n % k else w,
        near,
        {**SMALL, **WORD},
    ),
    task(
        "conditions/leap_year",
        "leap_year is_leap leap",
        """checks if a year is a leap year
            returns True if a year is a leap year
            tests whether a year is a leap year
            returns whether the given year is a leap year
            takes a year and checks whether it is a leap year""",
        "def $name(year):\n    if year % 400 == 0:\n        return True\n"
        "    if year % 100 == 0:\n        return False\n    return year % 4 == 0",
        lambda y: (y % 4 == 0 and y % 100 != 0) or y % 400 == 0,
        ((2000,), (1900,), (2024,), (2023,), (2100,)),
    ),
)
