"""Tasks on text."""

from __future__ import annotations

from embedded_tasks.template import (
    LETTERS,
    SMALL,
    STRINGS,
    WORD,
    K,
    Template,
    near_text,
    task,
    with_letter,
)

STRING_TASKS: tuple[Template, ...] = (
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
    task(
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
        with_letter,
        LETTERS,
    ),
    task(
        "strings/replace_letter",
        "replace_letter swap_letter exchange",
        """replaces the letter "$c" by "$w" in a string
            replaces every "$c" in a string by "$w"
            takes a string and replaces every letter "$c" by "$w"
            returns a string in which every "$c" is replaced by "$w"
            changes every letter "$c" of a string to "$w\"""",
        'def $name(text):\n    return text.replace("$c", "$w")',
        lambda s, w, c: w.join(s.split(c)),
        with_letter,
        {**LETTERS, **WORD},
    ),
    task(
        "strings/remove_letter",
        "remove_letter drop_letter strip_letter",
        """removes the letter "$c" from a string
            removes every "$c" from a string
            takes a string and removes the letter "$c"
            returns a string without the letter "$c"
            deletes every letter "$c" from a text""",
        'def $name(text):\n    return text.replace("$c", "")',
        lambda s, c: "".join(s.split(c)),
        with_letter,
        LETTERS,
    ),
    task(
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
    task(
        "strings/longer",
        "is_long too_long long_text",
        """checks if a string is longer than $k characters
            returns True if a string has more than $k characters
            tests whether a string is longer than $k characters
            returns whether the given text has more than $k characters
            takes a string and checks whether it has more than $k characters""",
        "def $name(text):\n    return len(text) > $k",
        lambda s, k: s[k:] != "",
        near_text,
        K,
    ),
    task(
        "strings/starts_with",
        "starts_with begins_with first_is",
        """checks if a string starts with the letter "$c"
            returns True if a string starts with "$c"
            tests whether a string begins with the letter "$c"
            returns whether the given text begins with "$c"
            takes a string and checks whether it starts with "$c\"""",
        'def $name(text):\n    return text.startswith("$c")',
        lambda s, c: s[:1] == c,
        with_letter,
        LETTERS,
    ),
    task(
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
