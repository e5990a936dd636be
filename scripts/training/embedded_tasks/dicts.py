"""Tasks on dicts."""

from __future__ import annotations

from embedded_tasks.template import DICTS, WORDS, K, Template, near_dict, task

DICT_TASKS: tuple[Template, ...] = (
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
        near_dict,
        K,
    ),
    task(
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
    task(
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
