"""Tasks on lists."""

from __future__ import annotations

import math

from embedded_tasks.template import (
    ARG,
    LISTS,
    LISTS0,
    SMALL,
    WORD,
    WORDS,
    K,
    Template,
    near_list,
    task,
)

LIST_TASKS: tuple[Template, ...] = (
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
        near_list,
        K,
    ),
    task(
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
        near_list,
        K,
    ),
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
