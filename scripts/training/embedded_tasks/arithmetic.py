"""Tasks on numbers."""

from __future__ import annotations

import math

from embedded_tasks.template import INTS, PAIRS, SMALL, K, Template, task

ARITHMETIC_TASKS: tuple[Template, ...] = (
    task(
        "arithmetic/add_k",
        "add_number plus increase shift_up",
        """adds $k to a number
            returns a number plus $k
            increases its argument by $k
            takes a number and returns it plus $k
            computes the sum of a number and $k
            takes a number and adds $k to it""",
        "def $name(x):\n    return x + $k",
        lambda x, k: x + k,
        INTS,
        K,
    ),
    task(
        "arithmetic/subtract_k",
        "subtract minus decrease shift_down",
        """subtracts $k from a number
            returns a number minus $k
            decreases its argument by $k
            takes a number and returns it minus $k
            takes $k away from a number
            takes a number and subtracts $k from it""",
        "def $name(x):\n    return x - $k",
        lambda x, k: x - k,
        INTS,
        K,
    ),
    task(
        "arithmetic/multiply_k",
        "multiply times scale",
        """multiplies a number by $k
            returns a number times $k
            returns $k times its argument
            takes a number and multiplies it by $k
            computes the product of a number and $k
            scales a number by $k""",
        "def $name(x):\n    return x * $k",
        lambda x, k: x * k,
        INTS,
        K,
    ),
    task(
        "arithmetic/linear",
        "linear transform line",
        """multiplies a number by $k and then adds $m
            returns $k times a number plus $m
            takes a number, multiplies it by $k and adds $m
            computes $k times x plus $m
            returns the number multiplied by $k and increased by $m""",
        "def $name(x):\n    result = x * $k\n    return result + $m",
        lambda x, m, k: m + k * x,
        INTS,
        {"k": range(2, 30), "m": range(1, 100)},
    ),
    task(
        "arithmetic/power",
        "power raise_to exponent",
        """raises a number to the power $k
            returns a number to the power of $k
            computes the power $k of a number
            takes a number and raises it to the power of $k
            returns its argument raised to the power $k""",
        "def $name(x):\n    return x ** $k",
        lambda x, k: math.prod([x] * k),
        INTS,
        SMALL,
    ),
    task(
        "arithmetic/remainder",
        "remainder modulo rest",
        """returns the remainder of a number divided by $k
            computes the remainder when a number is divided by $k
            returns a number modulo $k
            gives the remainder after dividing a number by $k
            takes a number and returns its remainder modulo $k""",
        "def $name(x):\n    return x % $k",
        lambda x, k: x - k * (x // k),
        INTS,
        K,
    ),
    task(
        "arithmetic/floor_divide",
        "whole_division divide_floor quotient",
        """divides a number by $k and rounds down
            returns the integer quotient of a number and $k
            computes the floor division of a number by $k
            takes a number and divides it by $k, rounding down
            returns a number divided by $k, rounded down""",
        "def $name(x):\n    return x // $k",
        lambda x, k: divmod(x, k)[0],
        INTS,
        K,
    ),
    task(
        "arithmetic/add_two",
        "add sum_two plus_both",
        """adds two numbers
            returns the sum of two numbers
            takes two numbers and returns their sum
            computes the sum of a and b
            takes a and b and adds them
            returns a plus b""",
        "def $name(a, b):\n    return a + b",
        lambda a, b: sum((a, b)),
        PAIRS,
    ),
    task(
        "arithmetic/difference",
        "difference subtract_two minus_both",
        """subtracts the second number from the first
            returns the difference of two numbers
            takes two numbers and returns their difference
            computes the difference of a and b
            takes a and b and subtracts b from a
            returns a minus b""",
        "def $name(a, b):\n    return a - b",
        lambda a, b: a + -b,
        PAIRS,
    ),
    task(
        "arithmetic/product_two",
        "multiply_two product times_both",
        """multiplies two numbers
            returns the product of two numbers
            takes two numbers and returns their product
            computes the product of a and b
            takes a and b and multiplies them
            returns a times b""",
        "def $name(a, b):\n    return a * b",
        lambda a, b: a * b,
        PAIRS,
    ),
    task(
        "arithmetic/average_two",
        "average mean_two midpoint",
        """returns the average of two numbers
            computes the mean of two numbers
            takes two numbers and returns their average
            computes the average of a and b
            takes a and b and returns their mean""",
        "def $name(a, b):\n    total = a + b\n    return total / 2",
        lambda a, b: a / 2 + b / 2,
        PAIRS,
    ),
    task(
        "arithmetic/distance",
        "distance gap abs_difference",
        """returns the absolute difference of two numbers
            computes the distance between two numbers
            takes two numbers and returns their absolute difference
            computes the absolute difference between a and b
            returns the distance between a and b""",
        "def $name(a, b):\n    return abs(a - b)",
        lambda a, b: max(a, b) - min(a, b),
        PAIRS,
    ),
    task(
        "arithmetic/sum_squares_two",
        "sum_squares add_squares squares_total",
        """returns the sum of the squares of two numbers
            squares two numbers and adds the squares
            takes two numbers and returns the sum of their squares
            computes a squared plus b squared
            adds the square of a and the square of b""",
        "def $name(a, b):\n    first = a * a\n    second = b * b\n    return first + second",
        lambda a, b: a**2 + b**2,
        PAIRS,
    ),
    task(
        "arithmetic/rectangle_area",
        "area rectangle_area surface",
        """returns the area of a rectangle
            computes the area of a rectangle from its width and height
            takes the width and height of a rectangle and returns its area
            calculates the area of a rectangle with the given width and height
            gives the area of a rectangle from width and height""",
        "def $name(width, height):\n    area = width * height\n    return area",
        lambda w, h: w * h,
        PAIRS,
    ),
    task(
        "arithmetic/rectangle_perimeter",
        "perimeter border outline",
        """returns the perimeter of a rectangle
            computes the perimeter of a rectangle from its width and height
            takes the width and height of a rectangle and returns its perimeter
            calculates the perimeter of a rectangle with the given width and height
            gives the perimeter of a rectangle from width and height""",
        "def $name(width, height):\n    half = width + height\n    return 2 * half",
        lambda w, h: w + w + h + h,
        PAIRS,
    ),
)
