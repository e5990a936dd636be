"""Tasks on comprehensions."""

from __future__ import annotations

import itertools

from embedded_tasks.template import ARG, LISTS0, SMALL, WORDS, K, Template, near_list, task

COMPREHENSION_TASKS: tuple[Template, ...] = (
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
        "comprehension/keep_greater",
        "keep_greater filter_above only_large",
        """keeps the numbers in a list that are greater than $k
            returns the numbers of a list that are greater than $k
            takes a list and keeps only the numbers greater than $k
            filters the numbers larger than $k from a list
            returns a list of all numbers above $k""",
        "def $name(numbers):\n    return [n for n in numbers if n > $k]",
        lambda xs, k: [x for x in xs if not x <= k],
        near_list,
        K,
    ),
    task(
        "comprehension/keep_less",
        "keep_less filter_below only_small",
        """keeps the numbers in a list that are less than $k
            returns the numbers of a list that are less than $k
            takes a list and keeps only the numbers less than $k
            filters the numbers smaller than $k from a list
            returns a list of all numbers below $k""",
        "def $name(numbers):\n    return [n for n in numbers if n < $k]",
        lambda xs, k: [x for x in xs if not x >= k],
        near_list,
        K,
    ),
    task(
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
    task(
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
    task(
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
    task(
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
