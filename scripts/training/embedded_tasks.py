"""Generate the instruction → Python-function pairs that the embedded model is trained on.

A template describes one task: wordings of what the function does, the answer's source, a
reference implementation written independently of that source, and inputs for examples.
`$k`-style placeholders stand for parameters; `$name` is the function's name.

Two things are held back from training, both decided by a hash and not by a person's
choice: one wording of every template, and one in five of the sentence openers and of the
combinations of function name and parameters.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Template as Text
from typing import Any

Params = Mapping[str, Any]
Inputs = Sequence[tuple[Any, ...]]

HELD_ONE_IN = 5
"""One opener and one combination of name and parameters in this many is never trained on."""

NAME_SHARES = {"fitting": 40, "another's": 30, "neutral": 30}
"""Percentages of names: the task's own, one that fits another task, a verb with a noun.

Names that do not fit make the model read the wording and copy the name letter by letter."""

ASKS = (
    *("Write", "Create", "Implement", "Define", "Make", "Build", "Give me", "I need"),
    *("Please write", "Please create", "In Python, write", "In Python, define"),
    *("Could you write", "Could you implement", "Can you create"),
)
KINDS = ("a function", "a Python function", "a small Python function")
NAMINGS = ("", "called ", "named ")
LINKS = ("that", "which")


def _openers() -> list[str]:
    """Return every sentence that asks for a function; `$body` is what the function does."""
    found: list[str] = []
    for ask, kind, link in itertools.product(ASKS, KINDS, LINKS):
        end = "?" if ask.startswith(("Could", "Can")) else "."
        subjects = (*(f"{kind} {naming}$name" for naming in NAMINGS), f"$name, {kind}")
        found.extend(f"{ask} {subject} {link} $body{end}" for subject in subjects)
    return found


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


OPENERS = tuple(o for o in _openers() if _hash("opener", o) % HELD_ONE_IN)
HELD_OPENERS = tuple(o for o in _openers() if not _hash("opener", o) % HELD_ONE_IN)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VERBS = _words(
    "get make find compute calc do run apply build take check handle process solve work "
    "eval produce derive obtain fetch try use my the quick fast small new simple basic"
)
NOUNS = _words(
    "value result answer output thing number item data it task step job part total all "
    "one two info case text list word entry record unit score point level size amount"
)


@dataclass(frozen=True, slots=True)
class Template:
    """Describe one task.

    Attributes:
        id: Stable name of the task.
        category: Kind of programming it needs.
        names: Fitting function names.
        wordings: What the function does, as it follows "a function that".
        code: The answer's source.
        reference: Independent implementation, called with the arguments and, by name, with
            the parameters (but for `arg`, which only names an argument).
        inputs: Arguments of the examples, or a function that gives them for parameters.
        choices: Values of each parameter.
    """

    id: str
    category: str
    names: tuple[str, ...]
    wordings: tuple[str, ...]
    code: str
    reference: Callable[..., Any]
    inputs: Inputs | Callable[[Params], Inputs]
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def held_wording(self) -> int:
        """Return the index of the wording that is never trained on."""
        return _hash("wording", self.id) % len(self.wordings)

    def examples(self, params: Params) -> list[dict[str, Any]]:
        """Return `{"args", "expected"}` per example, computed by the reference."""
        given = {key: value for key, value in params.items() if key != "arg"}
        inputs = self.inputs(params) if callable(self.inputs) else self.inputs
        # JSON makes a fresh copy for the reference, and the form in which it is compared.
        return [
            {"args": list(args), "expected": self.reference(*json.loads(json.dumps(args)), **given)}
            for args in inputs
        ]


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold one prompt with its answer and the examples that its function has to pass."""

    template: str
    category: str
    kind: str
    function: str
    prompt: str
    answer: str
    examples: list[dict[str, Any]]


# Parameter values and inputs that many templates share.
K = {"k": range(2, 100)}
SMALL = {"k": range(2, 10)}
LETTERS = {"c": tuple("abcdefghijklmnopqrstuvwxyz")}
ARG = {"arg": ("numbers", "values", "items", "data", "nums", "xs", "elements", "entries")}
TOKENS = _words(
    "red blue green apple dog cat sun moon star fish bird tree cup box pen key map ring lake road"
)
WORD = {"w": TOKENS}

INTS: Inputs = ((0,), (7,), (-4,), (15,), (102,))
PAIRS: Inputs = ((3, 4), (10, 2), (-5, 8), (6, 6), (0, 9))
TRIPLES: Inputs = ((1, 2, 3), (9, 2, 5), (4, 8, 1), (-3, -7, -5), (2, 2, 2))
COUNTS: Inputs = ((1,), (2,), (5,), (8,), (12,))
STRINGS: Inputs = (("hello",), ("Python code",), ("",), ("level",), ("A big Apple",), ("banana",))
LISTS: Inputs = (([1, 2, 3, 4],), ([5],), ([-2, 7, 0, 9, 7],), ([10, -3, 8, 10, 1],))
LISTS0: Inputs = (*LISTS, ([],))
WORDS: Inputs = ((["sun", "tree", "a", "banana"],), ([],), (["hi", "there", "hi"],))
DICTS: Inputs = (({"a": 1, "b": 5, "c": 30},), ({},), ({"x": 70, "y": -2},))


def _near(params: Params) -> Inputs:
    k = params["k"]
    return ((k - 1,), (k,), (k + 1,), (0,), (k * 2,))


def _near_list(params: Params) -> Inputs:
    k = params["k"]
    return (([k, k - 1, k + 1, 0, k],), ([],), ([k * 2, 1, -k, k],), ([3, 5, 8, 150],))


def _near_dict(params: Params) -> Inputs:
    k = params["k"]
    return (({"a": k, "b": k + 1, "c": k - 1},), ({},), ({"x": 200, "y": 0},))


def _near_text(params: Params) -> Inputs:
    k = params["k"]
    return (("a" * k,), ("b" * (k + 1),), ("",), ("word",))


def _with_letter(params: Params) -> Inputs:
    c = params["c"]
    return ((c * 3 + "x",), ("hello world",), ("",), (f"a{c}b{c}",), ("banana",))


def _between(params: Params) -> Inputs:
    low, high = params["low"], params["high"]
    return ((low,), (high,), (low - 1,), (high + 1,), ((low + high) // 2,))


RANGE = {"low": range(10), "high": range(20, 100)}


def _task(
    ident: str,
    names: str,
    wordings: str,
    code: str,
    reference: Callable[..., Any],
    inputs: Inputs | Callable[[Params], Inputs],
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> Template:
    """Return a template from `category/id`, names in one string and one wording a line."""
    category = ident.partition("/")[0]
    lines = tuple(line.strip() for line in wordings.strip().splitlines())
    body = code.strip("\n")
    return Template(
        ident, category, tuple(names.split()), lines, body, reference, inputs, choices or {}
    )


ARITHMETIC_TASKS: tuple[Template, ...] = (
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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


CONDITION_TASKS: tuple[Template, ...] = (
    _task(
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
    _task(
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
    _task(
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
    _task(
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
        _between,
        RANGE,
    ),
    _task(
        "conditions/in_range",
        "in_range between inside",
        """checks if a number is between $low and $high
            returns True if a number is between $low and $high
            tests whether a number is in the range from $low to $high
            checks whether a number is at least $low and at most $high
            returns whether a number is inside the range from $low to $high""",
        "def $name(x):\n    return $low <= x <= $high",
        lambda x, low, high: x in range(low, high + 1),
        _between,
        RANGE,
    ),
    _task(
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
    _task(
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
    _task(
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
    _task(
        "conditions/divisible",
        "divisible is_multiple divides",
        """checks if a number is divisible by $k
            returns True if a number is a multiple of $k
            tests whether a number is divisible by $k
            returns whether its argument is a multiple of $k
            takes a number and checks whether it is divisible by $k""",
        "def $name(n):\n    return n % $k == 0",
        lambda n, k: n == n // k * k,
        _near,
        K,
    ),
    _task(
        "conditions/greater",
        "is_large above exceeds",
        """checks if a number is greater than $k
            returns True if a number is greater than $k
            tests whether a number is larger than $k
            returns whether its argument is above $k
            takes a number and checks whether it is larger than $k""",
        "def $name(x):\n    return x > $k",
        lambda x, k: x > k,
        _near,
        K,
    ),
    _task(
        "conditions/less",
        "is_small below under",
        """checks if a number is less than $k
            returns True if a number is less than $k
            tests whether a number is smaller than $k
            returns whether its argument is below $k
            takes a number and checks whether it is smaller than $k""",
        "def $name(x):\n    return x < $k",
        lambda x, k: x < k,
        _near,
        K,
    ),
    _task(
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
    _task(
        "conditions/pass_fail",
        "grade verdict pass_or_fail",
        """returns "pass" if a score is at least $k and "fail" otherwise
            takes a score and returns "pass" for $k or more and "fail" for less
            gives "pass" for scores of at least $k, otherwise "fail"
            returns "fail" if a score is below $k and "pass" otherwise
            decides "pass" or "fail" for a score, where $k or more is a pass""",
        'def $name(score):\n    if score >= $k:\n        return "pass"\n    return "fail"',
        lambda score, k: "fail" if score < k else "pass",
        _near,
        K,
    ),
    _task(
        "conditions/word_if_divisible",
        "fizz label_multiple word_or_number",
        """returns "$w" if a number is divisible by $k and the number otherwise
            takes a number and returns "$w" for a multiple of $k, otherwise the number
            gives "$w" when the number is a multiple of $k and the number itself otherwise
            returns the word "$w" for multiples of $k and otherwise the number itself
            returns "$w" for a number divisible by $k, otherwise the number""",
        'def $name(n):\n    if n % $k == 0:\n        return "$w"\n    return n',
        lambda n, k, w: n if n % k else w,
        _near,
        {**SMALL, **WORD},
    ),
    _task(
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


STRING_TASKS: tuple[Template, ...] = (
    _task(
        "strings/reverse",
        "reverse_string flip backwards",
        """reverses a string
            returns a string backwards
            takes a string and returns it reversed
            returns the characters of a string in reverse order
            gives back the given string reversed""",
        "def $name(text):\n    return text[::-1]",
        lambda s: "".join(reversed(s)),
        STRINGS,
    ),
    _task(
        "strings/upper",
        "upper shout to_upper",
        """converts a string to upper case
            returns a string in upper case
            takes a string and converts it to upper case
            makes all letters of a string upper case
            returns the given text in upper case""",
        "def $name(text):\n    return text.upper()",
        lambda s: "".join(c.upper() for c in s),
        STRINGS,
    ),
    _task(
        "strings/lower",
        "lower whisper to_lower",
        """converts a string to lower case
            returns a string in lower case
            takes a string and converts it to lower case
            makes all letters of a string lower case
            returns the given text in lower case""",
        "def $name(text):\n    return text.lower()",
        lambda s: "".join(c.lower() for c in s),
        STRINGS,
    ),
    _task(
        "strings/count_vowels",
        "count_vowels vowels number_of_vowels",
        """counts the vowels in a string
            returns the number of vowels in a string
            takes a string and counts its vowels
            computes how many vowels a string has
            returns how many letters of a text are vowels""",
        "def $name(text):\n    count = 0\n    for char in text.lower():\n"
        '        if char in "aeiou":\n            count += 1\n    return count',
        lambda s: sum(s.lower().count(v) for v in "aeiou"),
        STRINGS,
    ),
    _task(
        "strings/palindrome",
        "is_palindrome palindrome same_backwards",
        """checks if a string is a palindrome
            returns True if a string is a palindrome
            tests whether a string is a palindrome
            checks whether a string reads the same backwards
            takes a string and checks whether it is a palindrome""",
        "def $name(text):\n    clean = text.lower()\n    return clean == clean[::-1]",
        lambda s: list(s.lower()) == list(reversed(s.lower())),
        (("level",), ("Anna",), ("hello",), ("",), ("ab",)),
    ),
    _task(
        "strings/repeat",
        "repeat_string repeat copies",
        """repeats a string $k times
            returns a string repeated $k times
            takes a string and repeats it $k times
            returns $k copies of a string joined together
            gives back the given text repeated $k times""",
        "def $name(text):\n    return text * $k",
        lambda s, k: "".join([s] * k),
        STRINGS,
        K,
    ),
    _task(
        "strings/first_chars",
        "first_chars head_of start_of",
        """returns the first $k characters of a string
            takes a string and returns its first $k characters
            gives the first $k letters of a string
            keeps only the first $k characters of a string
            cuts a string to its first $k characters""",
        "def $name(text):\n    return text[:$k]",
        lambda s, k: "".join(list(s)[:k]),
        STRINGS,
        SMALL,
    ),
    _task(
        "strings/last_chars",
        "last_chars tail_of end_of",
        """returns the last $k characters of a string
            takes a string and returns its last $k characters
            gives the last $k letters of a string
            keeps only the last $k characters of a string
            cuts a string to its last $k characters""",
        "def $name(text):\n    return text[-$k:]",
        lambda s, k: s[max(0, len(s) - k) :],
        STRINGS,
        SMALL,
    ),
    _task(
        "strings/prefix",
        "add_prefix prepend put_before",
        """adds "$w" to the start of a string
            puts "$w" in front of a string
            returns a string with "$w" in front of it
            takes a string and adds the prefix "$w"
            adds the prefix "$w" to a string""",
        'def $name(text):\n    return "$w" + text',
        lambda s, w: f"{w}{s}",
        STRINGS,
        WORD,
    ),
    _task(
        "strings/suffix",
        "add_suffix append_word put_after",
        """adds "$w" to the end of a string
            puts "$w" at the end of a string
            returns a string with "$w" at its end
            takes a string and adds the suffix "$w"
            adds the suffix "$w" to a string""",
        'def $name(text):\n    return text + "$w"',
        lambda s, w: f"{s}{w}",
        STRINGS,
        WORD,
    ),
    _task(
        "strings/count_letter",
        "count_letter occurrences letter_count",
        """counts the letter "$c" in a string
            returns how often the letter "$c" occurs in a string
            takes a string and counts the letter "$c"
            counts how many times the letter "$c" occurs in a text
            returns the number of times the letter "$c" is in a string""",
        "def $name(text):\n    count = 0\n    for char in text:\n"
        '        if char == "$c":\n            count += 1\n    return count',
        lambda s, c: s.count(c),
        _with_letter,
        LETTERS,
    ),
    _task(
        "strings/replace_letter",
        "replace_letter swap_letter exchange",
        """replaces the letter "$c" by "$w" in a string
            replaces every "$c" in a string by "$w"
            takes a string and replaces every letter "$c" by "$w"
            returns a string in which every "$c" is replaced by "$w"
            changes every letter "$c" of a string to "$w\"""",
        'def $name(text):\n    return text.replace("$c", "$w")',
        lambda s, w, c: w.join(s.split(c)),
        _with_letter,
        {**LETTERS, **WORD},
    ),
    _task(
        "strings/remove_letter",
        "remove_letter drop_letter strip_letter",
        """removes the letter "$c" from a string
            removes every "$c" from a string
            takes a string and removes the letter "$c"
            returns a string without the letter "$c"
            deletes every letter "$c" from a text""",
        'def $name(text):\n    return text.replace("$c", "")',
        lambda s, c: "".join(s.split(c)),
        _with_letter,
        LETTERS,
    ),
    _task(
        "strings/count_words",
        "count_words word_count number_of_words",
        """counts the words in a string
            returns the number of words in a string
            takes a string and counts its words
            computes how many words a string has
            returns how many words a text has""",
        "def $name(text):\n    words = text.split()\n    return len(words)",
        lambda s: sum(1 for _ in s.split()),
        STRINGS,
    ),
    _task(
        "strings/longer",
        "is_long too_long long_text",
        """checks if a string is longer than $k characters
            returns True if a string has more than $k characters
            tests whether a string is longer than $k characters
            returns whether the given text has more than $k characters
            takes a string and checks whether it has more than $k characters""",
        "def $name(text):\n    return len(text) > $k",
        lambda s, k: s[k:] != "",
        _near_text,
        K,
    ),
    _task(
        "strings/starts_with",
        "starts_with begins_with first_is",
        """checks if a string starts with the letter "$c"
            returns True if a string starts with "$c"
            tests whether a string begins with the letter "$c"
            returns whether the given text begins with "$c"
            takes a string and checks whether it starts with "$c\"""",
        'def $name(text):\n    return text.startswith("$c")',
        lambda s, c: s[:1] == c,
        _with_letter,
        LETTERS,
    ),
    _task(
        "strings/capitalize",
        "capitalize_words title_words big_letters",
        """capitalizes every word of a string
            returns a string with every word capitalized
            takes a string and capitalizes each word
            makes the first letter of every word upper case
            capitalizes each word in a text""",
        "def $name(text):\n    words = []\n    for word in text.split():\n"
        '        words.append(word.capitalize())\n    return " ".join(words)',
        lambda s: " ".join(w[:1].upper() + w[1:].lower() for w in s.split()),
        STRINGS,
    ),
)


LIST_TASKS: tuple[Template, ...] = (
    _task(
        "lists/total",
        "sum_list total add_all",
        """returns the sum of the list $arg
            adds all numbers in the list $arg
            takes the list $arg and returns the sum of its numbers
            computes the sum of all numbers in $arg
            sums up the numbers of the list $arg""",
        "def $name($arg):\n    total = 0\n    for number in $arg:\n"
        "        total += number\n    return total",
        sum,
        LISTS0,
        ARG,
    ),
    _task(
        "lists/product",
        "product_list product multiply_all",
        """returns the product of the list $arg
            multiplies all numbers in the list $arg
            takes the list $arg and returns the product of its numbers
            computes the product of all numbers in $arg
            multiplies together the numbers of the list $arg""",
        "def $name($arg):\n    result = 1\n    for number in $arg:\n"
        "        result *= number\n    return result",
        math.prod,
        LISTS0,
        ARG,
    ),
    _task(
        "lists/largest",
        "max_list find_max largest_number",
        """returns the largest number in the list $arg
            finds the maximum of the list $arg
            takes the list $arg and returns its largest number
            computes the maximum of all numbers in $arg
            finds the largest number of $arg""",
        "def $name($arg):\n    best = $arg[0]\n    for number in $arg:\n"
        "        if number > best:\n            best = number\n    return best",
        max,
        LISTS,
        ARG,
    ),
    _task(
        "lists/smallest",
        "min_list find_min smallest_number",
        """returns the smallest number in the list $arg
            finds the minimum of the list $arg
            takes the list $arg and returns its smallest number
            computes the minimum of all numbers in $arg
            finds the smallest number of $arg""",
        "def $name($arg):\n    best = $arg[0]\n    for number in $arg:\n"
        "        if number < best:\n            best = number\n    return best",
        min,
        LISTS,
        ARG,
    ),
    _task(
        "lists/mean",
        "average_list mean list_mean",
        """returns the average of the list $arg
            computes the average of all numbers in $arg
            takes the list $arg and returns the mean of its numbers
            computes the mean of the list $arg
            returns the mean of all numbers in the list $arg""",
        "def $name($arg):\n    total = sum($arg)\n    return total / len($arg)",
        lambda xs: sum(xs) / len(xs),
        LISTS,
        ARG,
    ),
    _task(
        "lists/count_greater",
        "count_greater count_large how_many_above",
        """counts the numbers in a list that are greater than $k
            returns how many numbers in a list are greater than $k
            takes a list and counts the numbers larger than $k
            counts how many numbers of a list are above $k
            returns the number of items in a list that are larger than $k""",
        "def $name(numbers):\n    count = 0\n    for number in numbers:\n"
        "        if number > $k:\n            count += 1\n    return count",
        lambda xs, k: len([x for x in xs if x > k]),
        _near_list,
        K,
    ),
    _task(
        "lists/count_equal",
        "count_equal count_value how_often",
        """counts how often $k occurs in a list
            returns how many times $k occurs in a list
            takes a list and counts how often the number $k occurs
            counts the numbers in a list that are equal to $k
            returns the number of items in a list that are equal to $k""",
        "def $name(numbers):\n    count = 0\n    for number in numbers:\n"
        "        if number == $k:\n            count += 1\n    return count",
        lambda xs, k: xs.count(k),
        _near_list,
        K,
    ),
    _task(
        "lists/reverse",
        "reverse_list flip_list backwards_list",
        """reverses the list $arg
            returns the list $arg in reverse order
            takes the list $arg and returns it reversed
            returns the items of the list $arg in reverse order
            gives back the list $arg reversed""",
        "def $name($arg):\n    return $arg[::-1]",
        lambda xs: list(reversed(xs)),
        LISTS0,
        ARG,
    ),
    _task(
        "lists/first_items",
        "first_items head_list take_first",
        """returns the first $k items of a list
            takes a list and returns its first $k items
            gives the first $k elements of a list
            keeps only the first $k items of a list
            cuts a list to its first $k elements""",
        "def $name(items):\n    return items[:$k]",
        lambda xs, k: [x for i, x in enumerate(xs) if i < k],
        LISTS0,
        SMALL,
    ),
    _task(
        "lists/last_item",
        "last_item final last_of",
        """returns the last item of the list $arg
            takes the list $arg and returns its last item
            gives the last element of the list $arg
            returns the final item of the list $arg
            returns the last element of $arg""",
        "def $name($arg):\n    return $arg[-1]",
        lambda xs: xs[len(xs) - 1],
        LISTS,
        ARG,
    ),
    _task(
        "lists/unique",
        "unique remove_duplicates distinct",
        """removes duplicates from a list
            returns a list without duplicates
            takes a list and removes its duplicates, keeping the order
            keeps each item of a list only once
            returns the items of a list without duplicates""",
        "def $name(items):\n    result = []\n    for item in items:\n"
        "        if item not in result:\n            result.append(item)\n    return result",
        lambda xs: list(dict.fromkeys(xs)),
        (([1, 2, 1, 3, 2],), ([],), (["b", "a", "b"],), ([4, 4, 4],)),
    ),
    _task(
        "lists/descending",
        "sort_descending largest_first sort_down",
        """sorts the list $arg in descending order
            returns the list $arg sorted in descending order
            takes the list $arg and sorts it from largest to smallest
            sorts the list $arg from largest to smallest
            returns the items of $arg in descending order""",
        "def $name($arg):\n    return sorted($arg, reverse=True)",
        lambda xs: sorted(xs)[::-1],
        LISTS0,
        ARG,
    ),
    _task(
        "lists/join",
        "join_words combine glue",
        """joins a list of words with "$w" between them
            returns the words of a list joined by "$w"
            takes a list of words and joins them with "$w"
            joins the words of a list with "$w"
            puts "$w" between the words of a list and joins them""",
        'def $name(words):\n    return "$w".join(words)',
        lambda ws, w: "".join(w * (i > 0) + word for i, word in enumerate(ws)),
        WORDS,
        WORD,
    ),
)


COMPREHENSION_TASKS: tuple[Template, ...] = (
    _task(
        "comprehension/evens",
        "evens keep_even only_even",
        """returns the even numbers of the list $arg
            keeps only the even numbers in the list $arg
            takes the list $arg and returns its even numbers
            filters the even numbers from the list $arg
            returns a list of all even numbers in $arg""",
        "def $name($arg):\n    return [n for n in $arg if n % 2 == 0]",
        lambda xs: [x for x in xs if not x & 1],
        LISTS0,
        ARG,
    ),
    _task(
        "comprehension/odds",
        "odds keep_odd only_odd",
        """returns the odd numbers of the list $arg
            keeps only the odd numbers in the list $arg
            takes the list $arg and returns its odd numbers
            filters the odd numbers from the list $arg
            returns a list of all odd numbers in $arg""",
        "def $name($arg):\n    return [n for n in $arg if n % 2 == 1]",
        lambda xs: [x for x in xs if x & 1],
        LISTS0,
        ARG,
    ),
    _task(
        "comprehension/squares",
        "squares square_all squared",
        """squares every number in the list $arg
            returns the squares of the list $arg
            takes the list $arg and returns the squares of its numbers
            computes the square of each number in $arg
            returns a list with the square of every number in $arg""",
        "def $name($arg):\n    return [n * n for n in $arg]",
        lambda xs: [x**2 for x in xs],
        LISTS0,
        ARG,
    ),
    _task(
        "comprehension/scale_list",
        "multiply_all scale_list times_each",
        """multiplies every number in a list by $k
            returns a list with every number multiplied by $k
            takes a list and multiplies each number by $k
            multiplies each number of a list by $k
            scales all numbers in a list by $k""",
        "def $name(numbers):\n    return [n * $k for n in numbers]",
        lambda xs, k: [k * x for x in xs],
        LISTS0,
        K,
    ),
    _task(
        "comprehension/shift_list",
        "add_to_all shift_list plus_each",
        """adds $k to every number in a list
            returns a list with every number increased by $k
            takes a list and adds $k to each number
            adds $k to each number of a list
            increases all numbers in a list by $k""",
        "def $name(numbers):\n    return [n + $k for n in numbers]",
        lambda xs, k: [k + x for x in xs],
        LISTS0,
        K,
    ),
    _task(
        "comprehension/keep_greater",
        "keep_greater filter_above only_large",
        """keeps the numbers in a list that are greater than $k
            returns the numbers of a list that are greater than $k
            takes a list and keeps only the numbers greater than $k
            filters the numbers larger than $k from a list
            returns a list of all numbers above $k""",
        "def $name(numbers):\n    return [n for n in numbers if n > $k]",
        lambda xs, k: [x for x in xs if not x <= k],
        _near_list,
        K,
    ),
    _task(
        "comprehension/keep_less",
        "keep_less filter_below only_small",
        """keeps the numbers in a list that are less than $k
            returns the numbers of a list that are less than $k
            takes a list and keeps only the numbers less than $k
            filters the numbers smaller than $k from a list
            returns a list of all numbers below $k""",
        "def $name(numbers):\n    return [n for n in numbers if n < $k]",
        lambda xs, k: [x for x in xs if not x >= k],
        _near_list,
        K,
    ),
    _task(
        "comprehension/word_lengths",
        "word_lengths lengths sizes",
        """returns the lengths of the words in a list
            takes a list of words and returns their lengths
            computes the length of each word in a list
            returns a list with the length of every word
            gives the length of every word in a list of words""",
        "def $name(words):\n    return [len(word) for word in words]",
        lambda ws: list(map(len, ws)),
        WORDS,
    ),
    _task(
        "comprehension/long_words",
        "long_words keep_long longer_words",
        """returns the words in a list that are longer than $k characters
            keeps the words of a list that have more than $k characters
            takes a list of words and keeps those longer than $k characters
            filters the words with more than $k characters from a list
            returns a list of all words longer than $k characters""",
        "def $name(words):\n    return [word for word in words if len(word) > $k]",
        lambda ws, k: [w for w in ws if w[k:]],
        ((["sun", "tree", "banana", "a"],), ([],), (["strawberries", "hello", "it"],)),
        SMALL,
    ),
    _task(
        "comprehension/upper_words",
        "upper_words shout_words all_upper",
        """converts every word in a list to upper case
            returns the words of a list in upper case
            takes a list of words and converts each word to upper case
            makes all words in a list upper case
            returns a list with every word in upper case""",
        "def $name(words):\n    return [word.upper() for word in words]",
        lambda ws: list(map(str.upper, ws)),
        WORDS,
    ),
    _task(
        "comprehension/flatten",
        "flatten merge_lists unnest",
        """flattens a list of lists
            returns a flat list from a list of lists
            takes a list of lists and flattens it
            puts the items of all lists in a list of lists into one list
            turns a list of lists into one flat list""",
        "def $name(lists):\n    return [item for part in lists for item in part]",
        lambda xs: list(itertools.chain(*xs)),
        (([[1, 2], [3]],), ([],), ([[], ["a"], ["b", "c"]],)),
    ),
)


DICT_TASKS: tuple[Template, ...] = (
    _task(
        "dicts/count_items",
        "count_items tally frequencies",
        """counts how often each item occurs in a list and returns a dictionary
            returns a dictionary with the count of each item in a list
            takes a list and returns a dictionary of how often each item occurs
            builds a dictionary that counts the items of a list
            counts the items of a list in a dictionary""",
        "def $name(items):\n    counts = {}\n    for item in items:\n"
        "        counts[item] = counts.get(item, 0) + 1\n    return counts",
        lambda xs: {x: xs.count(x) for x in xs},
        WORDS,
    ),
    _task(
        "dicts/invert",
        "invert swap_dict reverse_dict",
        """swaps the keys and values of a dictionary
            returns a dictionary with its keys and values swapped
            takes a dictionary and swaps its keys and values
            inverts a dictionary so that values become keys
            exchanges the keys and values of a dictionary""",
        "def $name(mapping):\n    return {value: key for key, value in mapping.items()}",
        lambda d: dict(zip(d.values(), d.keys(), strict=True)),
        (({"a": "x", "b": "y"},), ({},), ({"one": "two"},)),
    ),
    _task(
        "dicts/sum_values",
        "sum_values dict_total total_of_values",
        """returns the sum of the values of a dictionary
            adds all values of a dictionary
            takes a dictionary and returns the sum of its values
            computes the sum of all values in a dictionary
            sums up the values of a dictionary""",
        "def $name(mapping):\n    total = 0\n    for value in mapping.values():\n"
        "        total += value\n    return total",
        lambda d: sum(d.values()),
        DICTS,
    ),
    _task(
        "dicts/sorted_keys",
        "sorted_keys key_list keys_in_order",
        """returns the sorted keys of a dictionary
            takes a dictionary and returns its keys in sorted order
            gives a sorted list of the keys of a dictionary
            sorts the keys of a dictionary
            returns a list of the keys of a dictionary in sorted order""",
        "def $name(mapping):\n    return sorted(mapping.keys())",
        sorted,
        (*DICTS, ({"z": 1, "b": 2},)),
    ),
    _task(
        "dicts/lookup",
        "lookup get_or_default find_value",
        """returns the value of a key in a dictionary, or $k if it is missing
            looks up a key in a dictionary and returns $k if the key is missing
            takes a dictionary and a key and returns its value or $k
            gets the value of a key from a dictionary with the default $k
            finds the value of a key in a dictionary, with $k as the default""",
        "def $name(mapping, key):\n    return mapping.get(key, $k)",
        lambda d, key, k: {key: k, **d}[key],
        (({"a": 1}, "a"), ({"a": 1}, "b"), ({}, "x")),
        K,
    ),
    _task(
        "dicts/word_sizes",
        "word_sizes length_dict map_lengths",
        """maps each word in a list to its length in a dictionary
            returns a dictionary from each word in a list to its length
            takes a list of words and returns a dictionary of their lengths
            builds a dictionary with the length of every word in a list
            builds a dictionary that maps words to their lengths""",
        "def $name(words):\n    return {word: len(word) for word in words}",
        lambda ws: dict(zip(ws, map(len, ws), strict=True)),
        WORDS,
    ),
    _task(
        "dicts/keep_values",
        "filter_dict keep_values large_values",
        """keeps the entries of a dictionary whose value is greater than $k
            returns the entries of a dictionary with values greater than $k
            takes a dictionary and keeps only the values greater than $k
            filters a dictionary for values larger than $k
            returns a dictionary of all entries with a value above $k""",
        "def $name(mapping):\n    result = {}\n    for key, value in mapping.items():\n"
        "        if value > $k:\n            result[key] = value\n    return result",
        lambda d, k: {key: v for key, v in d.items() if v > k},
        _near_dict,
        K,
    ),
    _task(
        "dicts/merge",
        "merge_dicts merge combine_dicts",
        """merges two dictionaries
            returns two dictionaries merged into one
            takes two dictionaries and merges them
            combines two dictionaries into one
            merges the second dictionary into a copy of the first""",
        "def $name(first, second):\n    result = dict(first)\n"
        "    result.update(second)\n    return result",
        lambda a, b: {**a, **b},
        (({"a": 1}, {"b": 2}), ({}, {}), ({"x": 1, "y": 2}, {"y": 3})),
    ),
    _task(
        "dicts/scale_values",
        "scale_values multiply_values times_values",
        """multiplies every value of a dictionary by $k
            returns a dictionary with every value multiplied by $k
            takes a dictionary and multiplies each value by $k
            multiplies each value in a dictionary by $k
            scales all values of a dictionary by $k""",
        "def $name(mapping):\n    return {key: value * $k for key, value in mapping.items()}",
        lambda d, k: {key: k * v for key, v in d.items()},
        DICTS,
        K,
    ),
)


LOOP_TASKS: tuple[Template, ...] = (
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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


RECURSION_TASKS: tuple[Template, ...] = (
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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
    _task(
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


TEMPLATES: tuple[Template, ...] = (
    *ARITHMETIC_TASKS,
    *CONDITION_TASKS,
    *STRING_TASKS,
    *LIST_TASKS,
    *COMPREHENSION_TASKS,
    *DICT_TASKS,
    *LOOP_TASKS,
    *RECURSION_TASKS,
)
"""Every task, in a stable order."""


def is_held(template: Template, name: str, params: Params) -> bool:
    """Return whether this combination of name and parameters is never trained on."""
    values = [f"{key}={params[key]}" for key in sorted(params)]
    return _hash("combination", template.id, name, *values) % HELD_ONE_IN == 0


def _name(rng: random.Random, template: Template) -> str:
    [source] = rng.choices(list(NAME_SHARES), list(NAME_SHARES.values()))
    if source == "neutral":
        return f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}"
    return rng.choice((template if source == "fitting" else rng.choice(TEMPLATES)).names)


def _combination(rng: random.Random, template: Template, held: bool) -> tuple[str, dict[str, Any]]:
    """Draw a function name and parameters from the wanted side of the split."""
    while True:
        name = _name(rng, template)
        params = {key: rng.choice(values) for key, values in template.choices.items()}
        if is_held(template, name, params) is held:
            return name, params


def make_pair(rng: random.Random, template: Template, kind: str) -> Pair:
    """Make one pair.

    Args:
        rng: Source of every choice.
        template: The task.
        kind: `train`; `parameters` (combination held back), `wording` (wording and opener
            held back) or `both`.
    """
    held_wording = template.held_wording
    name, params = _combination(rng, template, kind in {"parameters", "both"})
    if kind in {"wording", "both"}:
        opener, wording = rng.choice(HELD_OPENERS), template.wordings[held_wording]
    else:
        seen = [w for i, w in enumerate(template.wordings) if i != held_wording]
        opener, wording = rng.choice(OPENERS), rng.choice(seen)
    body = Text(wording).substitute(params)
    prompt = Text(opener).substitute(name=name, body=body)
    code = Text(template.code).substitute(params, name=name)
    return Pair(
        template=template.id,
        category=template.category,
        kind=kind,
        function=name,
        prompt=prompt,
        answer=f"```python\n{code}\n```",
        examples=template.examples(params),
    )


def held_out(seed: int, rounds: int = 1) -> list[Pair]:
    """Return the evaluation set: per template and round one pair of every held-out kind."""
    pairs: dict[str, Pair] = {}
    for template in TEMPLATES:
        for number in range(rounds):
            for kind in ("parameters", "wording", "both"):
                rng = random.Random(f"{seed}/held/{template.id}/{kind}/{number}")  # noqa: S311
                pair = make_pair(rng, template, kind)
                pairs[pair.prompt] = pair
    return list(pairs.values())


def training_pairs(seed: int, block: int, count: int) -> list[Pair]:
    """Return one block of training pairs; the same numbers always give the same pairs."""
    rng = random.Random(f"{seed}/train/{block}")  # noqa: S311
    return [make_pair(rng, rng.choice(TEMPLATES), "train") for _ in range(count)]
